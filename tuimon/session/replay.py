"""A recorded run as if it came from its agent: for a session, a screen, or lines."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from tuimon.attach.events import Connected, Ended, Event
from tuimon.attach.validation import Validator
from tuimon.recording.errors import Damaged, RecordingError
from tuimon.recording.reader import RecordedRun, Recording
from tuimon.records.sample import Bye
from tuimon.wire.commands import Command
from tuimon.wire.errors import BadFrame


class Replay:
    """Delivers a recorded run from its beginning to its end, as fast as it is taken.

    A `Following`. Rules judge it anew: with every sample in the file, they find what they found live.

    Args:
        path: the recording.
        run: which of its runs; None for the newest.
        deliver: takes events, on a thread of the replay's own. `Mailbox.put` is one.
    """

    def __init__(self, path: Path, run: int | None, deliver: Callable[[Event], None]) -> None:
        """Open it.

        Raises:
            RecordingError: there is no such recording or run, or it cannot be read.
            OSError: the file cannot be read.
        """
        self._recording, self._deliver = Recording(path), deliver
        self.run = chosen(self._recording, run)
        #: What stopped it before the run's end; None while nothing has.
        self.failure: RecordingError | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tuimon-replay", daemon=True)

    def start(self) -> None:
        """See `Following.start`."""
        self._thread.start()

    def stop(self) -> None:
        """See `Following.stop`."""
        self._stopping.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join()

    def send(self, command: Command) -> bool:
        """There is no agent to take a command."""
        return False

    def _run(self) -> None:
        with self._recording:
            try:
                reason = self._play()
            except RecordingError as error:
                self.failure, reason = error, str(error)
        self._tell(Ended(reason))

    def _play(self) -> str:
        """Deliver every record; why there are no more.

        Raises:
            RecordingError: the file is damaged.
        """
        validator = Validator()
        self._tell(Connected())
        for record in self._recording.records(self.run.run):
            if self._stopping.is_set():
                return "stopped"
            try:
                validator.check(record)
            except BadFrame as error:
                raise Damaged(self._recording.path, str(error)) from None
            self._tell(record)
            if isinstance(record, Bye):
                return record.reason
        return self.run.end_reason or "the recording ends here"

    def _tell(self, event: Event) -> None:
        if not self._stopping.is_set():
            self._deliver(event)


def chosen(recording: Recording, run: int | None) -> RecordedRun:
    """The run of that number, or the newest one.

    Raises:
        RecordingError: there is none.
    """
    runs = recording.runs()
    if run is None:
        return runs[-1]
    for one in runs:
        if one.run == run:
            return one
    numbers = f"1 to {runs[-1].run}" if len(runs) > 1 else "1"
    raise RecordingError(recording.path, f"holds no run {run}", f"its runs are {numbers}")
