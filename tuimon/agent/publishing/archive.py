"""The bounded past, as frames ready to send: what a viewer that comes late is shown.

Everything here runs on the publisher's thread.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from operator import attrgetter

from tuimon.records.criterion import Evaluation
from tuimon.records.layout import Layout
from tuimon.records.record import Record
from tuimon.records.sample import Log, Notice, Sample
from tuimon.records.trial import Trial
from tuimon.wire.codec import decode, encode
from tuimon.wire.errors import FrameTooLong
from tuimon.wire.framing import length_prefix

#: A day of a small model, some two hundred samples of a model of 300 layers with all histograms.
LIMIT_BYTES = 24 << 20

#: Samples relieved of their histograms per sample that arrives: spread out, because each costs
#: about what encoding costs, and hundreds at once would keep the interpreter from the training.
STRIPPED_AT_ONCE = 4

#: Logs, evaluations, notices and trials kept at most. A viewer that connects again tells those it had from
#: new ones by remembering more of them than that.
LOGS, EVALUATIONS, NOTICES, TRIALS = 4096, 4096, 1024, 64

_SEQUENCE = attrgetter("sequence")
_PREFIX_BYTES = len(length_prefix(0))


@dataclass(slots=True, eq=False)
class Entry:
    """One record, encoded."""

    #: Counted from 1 over all records, without regard to what was dropped since.
    sequence: int
    kind: type[Record]
    #: The whole frame, length prefix included.
    frame: bytes
    #: A layout's own id, or that of the layout a sample refers to; else None.
    layout: int | None = None
    #: Number among the records of its kind, from 0.
    ordinal: int = 0
    #: Bytes of histograms in the frame.
    histogram_bytes: int = 0


@dataclass(slots=True)
class _Series:
    """The records of one kind that are still there, in order: dense lately, evenly thinned before."""

    entries: list[Entry] = field(default_factory=list)
    bytes: int = 0
    #: Records of this kind there ever were.
    count: int = 0
    #: In the thinned part every `stride`-th record is left, a power of two.
    stride: int = 1

    def append(self, entry: Entry) -> None:
        entry.ordinal = self.count
        self.count += 1
        self.entries.append(entry)
        self.bytes += len(entry.frame)

    def older_half(self) -> list[Entry]:
        """The older half; all but the newest when there are only three."""
        n = len(self.entries)
        return self.entries[: n // 2 if n > 3 else n - 1]

    def thin(self) -> tuple[list[Entry], list[Entry]]:
        """Take out a quarter of the older half or more; what is left of it, and what was taken out.

        Nothing is taken out when only two are left.

        Halving whatever is old would leave nothing of it after a few rounds. So the stride of the
        whole older half doubles: it covers the time since the first record, which stays, evenly.
        """
        older = self.older_half()
        most = max(1, len(older) * 3 // 4)
        while sum(entry.ordinal % self.stride == 0 for entry in older) > most:
            self.stride *= 2
        gone = [entry for entry in older if entry.ordinal % self.stride]
        kept = [entry for entry in older if not entry.ordinal % self.stride]
        self.entries[: len(older)] = kept
        self.bytes -= sum(len(entry.frame) for entry in gone)
        return kept, gone


class Archive:
    """Records as frames, in order, within a limit.

    Near the limit the older half of the samples loses its histograms; when that does not do,
    samples of the older half go, so that what is left covers the run evenly. The first sample, the
    newest one, the newest layout and all layouts that a sample left refers to stay whatever they
    weigh. Logs are thinned in the same way above an eighth of the limit or `LOGS` of them, so are
    evaluations; notices and trials above a 32nd, or `NOTICES` and `TRIALS` of them.
    """

    def __init__(self, limit_bytes: int = LIMIT_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._entries: list[Entry] = []
        self._bytes = 0
        self._last_sequence = 0
        self._samples, self._logs, self._notices = _Series(), _Series(), _Series()
        self._evaluations, self._trials = _Series(), _Series()
        #: Layouts by id; the last one is the newest.
        self._layouts: dict[int, Entry] = {}
        #: Samples that are to lose their histograms, and how many samples there were when chosen.
        self._to_strip: deque[Entry] = deque()
        self._chosen_at = 0
        #: The frame last made without histograms, with its sequence number: viewers share it.
        self._light: tuple[int, bytes] = (0, b"")

    @property
    def size_bytes(self) -> int:
        """Bytes of all frames kept."""
        return self._bytes

    @property
    def last_sequence(self) -> int:
        """Sequence number of the newest record; 0 before the first."""
        return self._last_sequence

    @property
    def newest_sample(self) -> Entry | None:
        """The sample appended last."""
        return self._samples.entries[-1] if self._samples.entries else None

    @property
    def newest_layout(self) -> Entry | None:
        """The layout appended last."""
        return next(reversed(self._layouts.values()), None)

    def layout(self, layout_id: int) -> Entry | None:
        """The layout of that id, if a sample kept refers to it or it is the newest."""
        return self._layouts.get(layout_id)

    def append(self, record: Record) -> int:
        """Encode a record and keep it; its sequence number.

        Raises:
            FrameTooLong: it is above the cap of a frame, a sample even without its histograms.
            TypeError, ValueError: it does not encode.
        """
        entry = _encoded(record, self._last_sequence + 1)
        self._last_sequence = entry.sequence
        self._entries.append(entry)
        self._bytes += len(entry.frame)
        if isinstance(record, Sample):
            self._samples.append(entry)
        elif isinstance(record, Layout):
            self._keep_layout(entry, record.id)
        elif isinstance(record, Log):
            self._keep_few(self._logs, entry, LOGS, self._limit_bytes // 8)
        elif isinstance(record, Evaluation):
            self._keep_few(self._evaluations, entry, EVALUATIONS, self._limit_bytes // 8)
        elif isinstance(record, Trial):
            self._keep_few(self._trials, entry, TRIALS, self._limit_bytes // 32)
        elif isinstance(record, Notice):
            self._keep_few(self._notices, entry, NOTICES, self._limit_bytes // 32)
        self._keep_within_limit()
        return entry.sequence

    def after(self, sequence: int, samples_from: int = 0) -> Entry | None:
        """What comes next for a reader that has everything up to `sequence`; None at the live end.

        Samples before `samples_from` are left out.
        """
        entries = self._entries
        for i in range(bisect_right(entries, sequence, key=_SEQUENCE), len(entries)):
            if entries[i].sequence >= samples_from or entries[i].kind is not Sample:
                return entries[i]
        return None

    def behind(self, sequence: int) -> int:
        """Records that a reader at `sequence` has still to get."""
        return len(self._entries) - bisect_right(self._entries, sequence, key=_SEQUENCE)

    def without_histograms(self, entry: Entry) -> bytes:
        """An entry's frame without the histograms that it may have."""
        if not entry.histogram_bytes:
            return entry.frame
        if self._light[0] != entry.sequence:
            self._light = entry.sequence, _stripped(entry.frame)
        return self._light[1]

    def _keep_layout(self, entry: Entry, layout_id: int) -> None:
        replaced = self._layouts.pop(layout_id, None)
        self._layouts[layout_id] = entry
        self._remove([replaced] if replaced is not None else [])

    def _keep_few(self, series: _Series, entry: Entry, most: int, limit_bytes: int) -> None:
        series.append(entry)
        if series.bytes > limit_bytes or len(series.entries) > most:
            self._remove(series.thin()[1])

    def _keep_within_limit(self) -> None:
        samples = self._samples
        while self._bytes > self._limit_bytes:
            kept, gone = samples.thin()
            self._remove(gone)
            self._choose(kept)
            if not gone:
                break
        # As long as no sample had to go, histograms go first; later, of those only that survived a
        # thinning, for most samples that grow old are dropped soon.
        if (
            samples.stride == 1
            and self._bytes > self._limit_bytes // 8 * 7
            and len(samples.entries) > self._chosen_at * 9 // 8
        ):
            self._choose(samples.older_half())
        for _ in range(min(STRIPPED_AT_ONCE, len(self._to_strip))):
            self._strip(self._to_strip.popleft())

    def _choose(self, older: list[Entry]) -> None:
        self._to_strip = deque(entry for entry in older if entry.histogram_bytes)
        self._chosen_at = len(self._samples.entries)

    def _strip(self, entry: Entry) -> None:
        frame = _stripped(entry.frame)
        freed_bytes = len(entry.frame) - len(frame)
        self._bytes -= freed_bytes
        self._samples.bytes -= freed_bytes
        entry.frame, entry.histogram_bytes = frame, 0

    def _remove(self, gone: Iterable[Entry]) -> None:
        """Forget these, and the layouts that nothing refers to any more."""
        sequences = {entry.sequence for entry in gone}
        used = {entry.layout for entry in self._samples.entries}
        newest = self.newest_layout
        for layout_id, entry in list(self._layouts.items()):
            if layout_id not in used and entry is not newest:
                del self._layouts[layout_id]
                sequences.add(entry.sequence)
        if sequences:
            self._entries = [entry for entry in self._entries if entry.sequence not in sequences]
            self._bytes = sum(len(entry.frame) for entry in self._entries)


def _encoded(record: Record, sequence: int) -> Entry:
    if isinstance(record, Layout):
        return Entry(sequence, Layout, encode(record), record.id)
    if not isinstance(record, Sample):
        return Entry(sequence, type(record), encode(record))
    bins = record.tensors.hist_counts
    try:
        return Entry(
            sequence, Sample, encode(record), record.layout, histogram_bytes=len(bins) * bins.itemsize
        )
    except FrameTooLong:
        light = replace(record, tensors=record.tensors.without_histograms())
        return Entry(sequence, Sample, encode(light), record.layout)


def _stripped(frame: bytes) -> bytes:
    sample = decode(frame[_PREFIX_BYTES:])
    assert isinstance(sample, Sample)
    return encode(replace(sample, tensors=sample.tensors.without_histograms()))
