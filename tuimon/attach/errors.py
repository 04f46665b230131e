"""Why one cannot attach, told apart so that each ends with what to do.

AttachError
├── NoSuchProcess     the pid names no process
├── SeveralTrainings  it has started several trainings, not the ranks of one
├── OtherUser         the process is another user's
├── NotPython         it runs no Python
├── NoTorch           it runs Python, but has not loaded PyTorch
├── NoAgent           it runs PyTorch, but tuimon is not inside; whoever attaches may enter it:
├── EntryError        it cannot be entered (see `tuimon.attach.injection.entry_errors`)
├── StaleSocket       its agent is gone, only the socket file is left
├── NoAnswer          its agent takes connections, and says nothing
├── WrongProtocol     its agent is of another version
└── Garbled           its agent sends what is no record
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar


class AttachError(Exception):
    """Base: one line that says what happened, to which process, and what to do next."""

    #: What stands in the way, in one word, for `tuimon list`.
    word: ClassVar[str] = "no"

    def __init__(self, what: str, remedy: str, pid: int | None = None) -> None:
        super().__init__(f"{what}; {remedy}")
        self.what = what
        self.remedy = remedy
        self.pid = pid

    @property
    def is_final(self) -> bool:
        """Whether trying again cannot help while the process stays what it is."""
        return False


class NoSuchProcess(AttachError):
    """The pid names no process."""

    def __init__(self, pid: int) -> None:
        super().__init__(f"there is no process {pid}", "`tuimon list` shows the trainings that run", pid)

    @property
    def is_final(self) -> bool:
        """A pid that comes back is another process."""
        return True


class SeveralTrainings(AttachError):
    """The process trains nothing itself, and has started trainings that are not the ranks of one job."""

    def __init__(self, pid: int, trainings: Sequence[int]) -> None:
        some = ", ".join(map(str, trainings[:4])) + (", ..." if len(trainings) > 4 else "")
        super().__init__(f"process {pid} has started several trainings ({some})", "name one of them", pid)


class OtherUser(AttachError):
    """The process belongs to a user whose processes this one may not look into."""

    word = "user"

    def __init__(self, pid: int | None, user: str) -> None:
        remedy = f"run tuimon as {user}" + ("" if user == "root" else ", or as root")
        super().__init__(f"{_process(pid)} belongs to user {user}", remedy, pid)

    @property
    def is_final(self) -> bool:
        """Processes do not change hands."""
        return True


class NotPython(AttachError):
    """The process runs no Python."""

    def __init__(self, pid: int, command: str) -> None:
        super().__init__(
            f"process {pid} ({command}) runs no Python", "`tuimon list` shows the trainings that run", pid
        )


class NoTorch(AttachError):
    """The process runs Python, but has not loaded PyTorch."""

    word = "torch"

    def __init__(self, pid: int) -> None:
        super().__init__(
            f"process {pid} has not loaded PyTorch",
            "wait until it imports torch, or name the process that trains",
            pid,
        )


class NoAgent(AttachError):
    """The process runs PyTorch, but no agent of tuimon listens in it."""

    def __init__(self, pid: int | None) -> None:
        super().__init__(
            f"tuimon is not inside {_process(pid)}",
            "`tuimon attach` enters it" if pid is None else f"`tuimon attach {pid}` enters it",
            pid,
        )


class StaleSocket(AttachError):
    """The agent is gone and left its socket file behind."""

    word = "stale"

    def __init__(self, pid: int | None, path: object) -> None:
        super().__init__(
            f"the agent in {_process(pid)} has stopped listening at {path}",
            "the training's stderr says why; start it again to watch it",
            pid,
        )


class NoAnswer(AttachError):
    """The agent takes connections, and says nothing."""

    word = "silent"

    def __init__(self, pid: int | None, waited_s: float) -> None:
        super().__init__(
            f"the agent in {_process(pid)} did not answer within {waited_s:g} s",
            "the process may be stopped or busy in one long call; try again"
            + ("" if pid is None else f", or see `tuimon doctor {pid}`"),
            pid,
        )


class WrongProtocol(AttachError):
    """The agent is of another version."""

    word = "version"

    def __init__(self, pid: int | None, versions: str) -> None:
        super().__init__(
            f"the agent in {_process(pid)} cannot be understood: {versions}",
            "then restart the training or the viewer, whichever was older",
            pid,
        )

    @property
    def is_final(self) -> bool:
        """An agent stays what it is as long as its process lives."""
        return True


class Garbled(AttachError):
    """The agent sends what is no record."""

    word = "garbled"

    def __init__(self, pid: int | None, why: str) -> None:
        super().__init__(
            f"the agent in {_process(pid)} sends what cannot be read: {why}",
            "install the same tuimon on both sides, and report it if it is",
            pid,
        )


def _process(pid: int | None) -> str:
    return "the training" if pid is None else f"process {pid}"
