"""Why a training that runs cannot be entered: the branch of `tuimon.attach.errors` for that.

EntryError
├── CannotEnter        known beforehand, without touching the process; `tuimon list` and `doctor` tell it, too
│   ├── OldPython          its Python is too old, or no CPython
│   ├── DataWorker         it only loads data for another process, which trains
│   ├── HeldProcess        it is stopped (Ctrl-Z)
│   ├── TracedProcess      another debugger holds it
│   ├── NoDebugger         gdb is missing
│   ├── NoRight            the kernel lets this user not look into it
│   └── UnknownProgram     the files that it runs from were replaced, or name no functions
├── NoRoom             no directory that it can read has room for what it must load
├── DebuggerFailed     gdb could not do it
├── DebuggerStuck      gdb has not come back
├── NotExecuting       it runs no Python code at present, so that it cannot begin
├── DiedEntering       it ended meanwhile
├── EntryFailed        tuimon does not load in it
├── EntryBusy          another tuimon is about to enter it, and takes long
└── GivenUp            whoever wanted in has lost interest
"""

from __future__ import annotations

from tuimon.attach.errors import AttachError

#: The way that needs no debugger and no right.
RUN = "start it with `tuimon run -- COMMAND`"


class EntryError(AttachError):
    """Base: the process goes on as it was."""


class CannotEnter(EntryError):
    """Known before the process was touched."""


class OldPython(CannotEnter):
    """Its Python is too old, or it is none that can be entered."""

    word = "python"

    def __init__(self, pid: int, version: str) -> None:
        super().__init__(
            f"process {pid} runs {version}, and tuimon enters CPython 3.10 and newer",
            "train with a newer Python",
            pid,
        )


class DataWorker(CannotEnter):
    """It only loads data for another process."""

    word = "worker"

    def __init__(self, pid: int, training: int) -> None:
        super().__init__(
            f"process {pid} only loads data for the training {training}", f"attach to {training}", pid
        )


class HeldProcess(CannotEnter):
    """A signal has stopped it."""

    word = "stopped"

    def __init__(self, pid: int) -> None:
        super().__init__(f"process {pid} is stopped", f"continue it (kill -CONT {pid}), then attach", pid)


class TracedProcess(CannotEnter):
    """A debugger holds it, and the kernel allows one only."""

    word = "traced"

    def __init__(self, pid: int, tracer: int, name: str) -> None:
        super().__init__(
            f"process {pid} is held by the debugger {tracer} ({name})", "end that first, then attach", pid
        )


class NoDebugger(CannotEnter):
    """There is no gdb here."""

    word = "gdb"

    def __init__(self, pid: int) -> None:
        super().__init__(
            f"entering process {pid} needs gdb, which is not installed here",
            f"install it (apt install gdb), or {RUN}",
            pid,
        )


class NoRight(CannotEnter):
    """The kernel does not let this process look into that one."""

    word = "right"

    def __init__(self, pid: int, why: str, remedy: str) -> None:
        super().__init__(f"process {pid} may not be entered: {why}", remedy, pid)


class UnknownProgram(CannotEnter):
    """The functions to call cannot be found with certainty."""

    word = "program"

    def __init__(self, pid: int, why: str) -> None:
        super().__init__(f"process {pid} cannot be entered: {why}", RUN, pid)


class NoRoom(EntryError):
    """Nothing can be written where the process could read it."""

    def __init__(self, pid: int, tried: str) -> None:
        super().__init__(
            f"process {pid} needs 1 MB in its temporary directory, and none can be written ({tried})",
            "make room there, then attach",
            pid,
        )


class DebuggerFailed(EntryError):
    """gdb ended without having done it."""

    def __init__(self, pid: int, said: str) -> None:
        super().__init__(f"gdb could not enter process {pid}: {said}", f"try again, or {RUN}", pid)


class DebuggerStuck(EntryError):
    """gdb has not come back; it must not be killed while it may be inside of the process."""

    def __init__(self, pid: int, debugger: int, waited_s: float) -> None:
        super().__init__(
            f"gdb (process {debugger}) has held process {pid} for {waited_s:g} s",
            "leave it alone: killing it now could end the training; `tuimon list` shows when it is done",
            pid,
        )


class NotExecuting(EntryError):
    """The main thread is inside one long call, and Python code is what it would have to run."""

    def __init__(self, pid: int, waited_s: float, where: str | None = None) -> None:
        at = "" if where is None else f" ({where})"
        super().__init__(
            f"process {pid} is not executing Python: its main thread has been in one call for "
            f"{waited_s:g} s{at}",
            "it may hang in a collective, a lock or a wait for data; attach again once it goes on (nothing "
            f"was changed in it); `tuimon doctor {pid}` shows where it is",
            pid,
        )


class DiedEntering(EntryError):
    """The process ended while it was being entered."""

    def __init__(self, pid: int) -> None:
        super().__init__(
            f"process {pid} ended while tuimon was entering it", "`tuimon list` shows what still trains", pid
        )

    @property
    def is_final(self) -> bool:
        """A pid that comes back is another process."""
        return True


class EntryFailed(EntryError):
    """tuimon does not load in the process, or does not answer in it."""

    def __init__(self, pid: int, why: str) -> None:
        super().__init__(
            f"tuimon does not start in process {pid}: {why}",
            "the training goes on; report it if its Python and torch are of a supported version",
            pid,
        )


class EntryBusy(EntryError):
    """Another attacher holds the door."""

    def __init__(self, pid: int, waited_s: float) -> None:
        super().__init__(
            f"another tuimon has been entering process {pid} for {waited_s:g} s", "try again in a while", pid
        )


class GivenUp(EntryError):
    """Whoever wanted in has left meanwhile."""

    def __init__(self, pid: int) -> None:
        super().__init__(f"process {pid} was not entered", "nothing was left behind", pid)
