"""Reading a recording back, while it is written to or afterwards."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tuimon.recording import schema
from tuimon.recording.errors import Damaged, NotARecording, RecordingError
from tuimon.records.record import Record
from tuimon.wire.codec import decode
from tuimon.wire.errors import WireError
from tuimon.wire.framing import MAX_PAYLOAD_BYTES

#: Frames fetched at a time; between two fetches the file is free for whoever writes to it.
_FETCHED = 32


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """One training of a recording."""

    run: int
    name: str
    pid: int
    #: Unix time at which its agent began, seconds.
    started_s: float
    #: Observed steps; those whose tensors made room for later ones included.
    samples: int
    #: None: it was still going on when it was recorded last.
    end_reason: str | None


class Recording:
    """An opened recording; a context manager. It may be used on another thread than it was made on.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        """Open it.

        Raises:
            RecordingError: it is none, or cannot be read; told apart by what to do.
            OSError: the file cannot be read.
        """
        self.path = path
        schema.check(path)
        # Not read-only: what a killed writer left half done has to be taken back first.
        address = f"file:{quote(str(path.absolute()))}?mode=rw"
        try:
            self._database = sqlite3.connect(
                address, uri=True, timeout=schema.BUSY_S, isolation_level=None, check_same_thread=False
            )
        except sqlite3.Error as error:
            raise Damaged(path, str(error)) from None

    def runs(self) -> list[RecordedRun]:
        """The trainings in it, the first to be recorded first.

        Raises:
            RecordingError: the file is damaged, or holds no run.
        """
        found = [RecordedRun(*row) for row in self._fetched(
            "SELECT run, name, pid, started_s, (SELECT count(*) FROM samples WHERE samples.run = runs.run), "
            "end_reason FROM runs ORDER BY run"
        )]  # fmt: skip
        if not found:
            raise NotARecording(self.path, "holds no run: what was recorded trained nothing")
        return found

    def records(self, run: int) -> Iterator[Record]:
        """Everything that its agent said, in order, but for samples that made room for later ones.

        Raises:
            RecordingError: the file is damaged from here on.
        """
        last = 0
        next_ones = "SELECT seq, frame FROM frames WHERE run = ? AND seq > ? ORDER BY seq LIMIT ?"
        while rows := self._fetched(next_ones, run, last, _FETCHED):
            for seq, frame in rows:
                last = seq
                record = self._decoded(frame)
                if record is not None:
                    yield record

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def _fetched(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        try:
            return self._database.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise self._damaged(str(error)) from None

    def _decoded(self, frame: bytes) -> Record | None:
        try:
            # Not more than could have been sent, whatever the file says.
            return decode(zlib.decompressobj().decompress(frame, MAX_PAYLOAD_BYTES))
        except (TypeError, zlib.error, WireError) as error:
            raise self._damaged(str(error)) from None

    def _damaged(self, why: str) -> RecordingError:
        return Damaged(self.path, why)
