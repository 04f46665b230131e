"""What can be wrong with a recording.

RecordingError
├── NoRecording     there is no such file
├── NotARecording   the file is something else, or empty
├── OtherVersion    a newer tuimon has written it
├── Damaged         it is cut off, or was written into
└── Unwritable      it cannot be written, or not any further
"""

from __future__ import annotations

from pathlib import Path


class RecordingError(Exception):
    """Base: one line that says what happened, to which file, and what to do next."""

    def __init__(self, path: Path, what: str, remedy: str) -> None:
        super().__init__(f"{path} {what}; {remedy}")
        self.path = path


class NoRecording(RecordingError):
    """There is no such file."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "is not there", "`tuimon run --record FILE` makes a recording")


class NotARecording(RecordingError):
    """The file is something else."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(path, why, "name a file that tuimon has recorded")


class OtherVersion(RecordingError):
    """A newer tuimon has written it."""

    def __init__(self, path: Path, theirs: int, ours: int) -> None:
        what = f"is a recording of version {theirs}, this tuimon knows version {ours}"
        super().__init__(path, what, "update tuimon (pip install -U tuimon)")


class Damaged(RecordingError):
    """The file is cut off, or something else was written into it."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(path, f"is damaged ({why})", "copy it again, or try `sqlite3 FILE .recover`")


class Unwritable(RecordingError):
    """It cannot be written, or not any further."""

    def __init__(self, path: Path, why: str, remedy: str) -> None:
        super().__init__(path, f"cannot be written to ({why})", remedy)
