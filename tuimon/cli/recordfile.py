"""The file of `--record` and `-o`: the whole run, for as long as the disk takes it."""

from __future__ import annotations

import sys
import time
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from tuimon.cli.exits import Failure
from tuimon.recording.errors import RecordingError
from tuimon.recording.writer import Recorder
from tuimon.records.record import Record

if TYPE_CHECKING:
    from tuimon.session.change import Change
    from tuimon.session.session import Session

_RECORDS = get_args(Record)


class RecordFile:
    """Takes the changes of sessions, one after another. A disk that is full ends it, not the following.

    Args:
        name: the file; runs are added to a recording that is there.
        nothing_done: what else did not happen because of it, for the person.
    """

    def __init__(self, name: str, nothing_done: str = "nothing was recorded") -> None:
        """Open it.

        Raises:
            Failure: it cannot be written to, or is something else.
        """
        try:
            self._recorder: Recorder | None = Recorder(Path(name))
        except RecordingError as error:
            raise Failure(f"{error}; {nothing_done}") from None

    def write(self, session: Session, change: Change) -> None:
        """Record what the change brought."""
        from tuimon.session.change import AlertChanged, ConnectionChanged

        if self._recorder is None:
            return
        try:
            match change:
                case AlertChanged(alert):
                    self._recorder.alert(alert)
                case ConnectionChanged(state):
                    if state.status == "ended" and session.bye is None:
                        self._recorder.end(state.reason or "ended", time.time())
                case _:
                    for field in fields(change):
                        if isinstance(record := getattr(change, field.name), _RECORDS):
                            self._recorder.write(record)
        except RecordingError as error:
            self._give_up(error)

    def commit_if_due(self) -> None:
        """See `Recorder.commit_if_due`."""
        try:
            if self._recorder is not None:
                self._recorder.commit_if_due()
        except RecordingError as error:
            self._give_up(error)

    def close(self) -> None:
        """See `Recorder.close`."""
        recorder, self._recorder = self._recorder, None
        try:
            if recorder is not None:
                recorder.close()
        except RecordingError as error:
            self._say(error)

    def _give_up(self, error: RecordingError) -> None:
        self._say(error)
        recorder, self._recorder = self._recorder, None
        try:
            if recorder is not None:
                recorder.close()
        except RecordingError:
            return  # said just now

    def _say(self, error: RecordingError) -> None:
        print(f"tuimon: {error}; the recording ends here, the training goes on", file=sys.stderr, flush=True)
