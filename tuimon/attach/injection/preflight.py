"""Whether a running training can be entered: looked at from outside, without stopping anything."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tuimon.attach.errors import NoSuchProcess, NoTorch, NotPython, OtherUser
from tuimon.attach.injection.elf import Function, WrongFile, functions, open_memory
from tuimon.attach.injection.entry_errors import (
    RUN,
    DataWorker,
    HeldProcess,
    NoDebugger,
    NoRight,
    OldPython,
    TracedProcess,
    UnknownProgram,
)
from tuimon.attach.process import (
    PROC,
    ProcessFacts,
    has_torch,
    is_worker,
    maps_text,
    process_facts,
    runs_python,
)
from tuimon.attach.transport import user_name

OLDEST = (3, 10)
#: From here on Python has a way in of its own (PEP 768).
REMOTE = (3, 14)

#: What gdb calls in the process; all three must be found.
MAP, QUEUE, RUN_LINE = "mmap", "Py_AddPendingCall", "PyRun_SimpleString"
#: Inside of these the main thread may hold the lock that `Py_AddPendingCall` takes.
_LOCKING = (
    QUEUE,
    "Py_MakePendingCalls",
    "PyThread_acquire_lock",
    "PyThread_acquire_lock_timed",
    "PyThread_release_lock",
)


#: Where a version is written, in what is mapped; the surest first.
_VERSIONS = (r"\.cpython-(\d)(\d+)", r"/libpython(\d)\.(\d+)", r"/python(\d)\.(\d+)[a-z]*(?:\n| \(del)")


@dataclass(frozen=True, slots=True)
class Interpreter:
    """The Python in a process, and where its functions lie."""

    #: Such as (3, 11); None where nothing tells.
    version: tuple[int, int] | None
    #: The functions to call, by name.
    calls: dict[str, Function]
    #: Where the main thread must not be stopped.
    avoid: tuple[Function, ...]


#: One thing that must hold, or an AttachError that says what to do.
Check = Callable[[ProcessFacts, Path], None]


def check(facts: ProcessFacts, proc: Path = PROC) -> None:
    """Pass if nothing speaks against entering the process; looks at little, for `tuimon list`.

    Raises:
        AttachError: the first of `CHECKS` that fails.
    """
    for _, passes in CHECKS:
        passes(facts, proc)


def examine(facts: ProcessFacts, proc: Path = PROC) -> Interpreter:
    """All that must be known before the process is entered.

    Raises:
        AttachError: it cannot be entered, and why: as `check`, or `UnknownProgram`.
    """
    check(facts, proc)
    try:
        found = functions(facts, (MAP, QUEUE, RUN_LINE, *_LOCKING[1:]), proc)
    except WrongFile as error:
        raise UnknownProgram(facts.pid, f"{error}, since it was replaced after the start") from None
    except PermissionError:
        raise _no_right(facts, proc) from None
    except ProcessLookupError:
        raise NoSuchProcess(facts.pid) from None
    if missing := [name for name in (MAP, QUEUE, RUN_LINE) if name not in found]:
        raise UnknownProgram(facts.pid, f"its program does not tell where {missing[0]} is")
    calls = {name: found[name] for name in (MAP, QUEUE, RUN_LINE)}
    return Interpreter(
        python_version(facts, proc), calls, tuple(found[name] for name in _LOCKING if name in found)
    )


def python_version(facts: ProcessFacts, proc: Path = PROC) -> tuple[int, int] | None:
    """The CPython version, by the extension modules and libraries loaded, or by the program's name."""
    text = maps_text(facts, proc)
    with suppress(OSError):
        text += os.readlink(proc / str(facts.pid) / "exe") + "\n"
    for pattern in _VERSIONS:
        if found := re.search(pattern, text):
            return int(found[1]), int(found[2])
    return None


def debugger() -> str | None:
    """The path of gdb; None where it is not installed."""
    return shutil.which("gdb")


def _other(facts: ProcessFacts, proc: Path) -> None:
    if facts.pid == os.getpid():
        raise UnknownProgram(facts.pid, "it is this very process")


def _same_user(facts: ProcessFacts, proc: Path) -> None:
    if os.geteuid() not in (0, facts.uid):
        raise OtherUser(facts.pid, user_name(facts.uid))


def _python(facts: ProcessFacts, proc: Path) -> None:
    if not maps_text(facts, proc):
        _right(facts, proc)
    if not runs_python(facts, proc):
        raise NotPython(facts.pid, " ".join(facts.command)[:60])
    version = python_version(facts, proc)
    if "/libpypy" in maps_text(facts, proc):
        raise OldPython(facts.pid, "PyPy")
    if version is not None and version < OLDEST:
        raise OldPython(facts.pid, f"Python {version[0]}.{version[1]}")


def _torch(facts: ProcessFacts, proc: Path) -> None:
    if not has_torch(facts, proc):
        raise NoTorch(facts.pid)


def _trains(facts: ProcessFacts, proc: Path) -> None:
    try:
        parent = process_facts(facts.parent, proc)
    except ProcessLookupError:
        return
    if is_worker(facts, parent if has_torch(parent, proc) else None, proc):
        raise DataWorker(facts.pid, facts.parent)


def _not_held(facts: ProcessFacts, proc: Path) -> None:
    if facts.tracer is not None:
        name = "unknown"
        with suppress(OSError):
            name = (proc / str(facts.tracer) / "comm").read_text().strip()
        raise TracedProcess(facts.pid, facts.tracer, name)
    if facts.stopped:
        raise HeldProcess(facts.pid)


def _right(facts: ProcessFacts, proc: Path) -> None:
    try:
        open_memory(facts, proc).close()
    except PermissionError:
        raise _no_right(facts, proc) from None
    except ProcessLookupError:
        raise NoSuchProcess(facts.pid) from None


def _way_in(facts: ProcessFacts, proc: Path) -> None:
    version = python_version(facts, proc)
    if debugger() is None and not (version is not None and version >= REMOTE):
        raise NoDebugger(facts.pid)


#: In the order in which they are asked; named for whoever lists them.
CHECKS: tuple[tuple[str, Check], ...] = (
    ("itself", _other),
    ("user", _same_user),
    ("python", _python),
    ("torch", _torch),
    ("worker", _trains),
    ("held", _not_held),
    ("right", _right),
    ("debugger", _way_in),
)


def _no_right(facts: ProcessFacts, proc: Path) -> NoRight:
    """Why the kernel refuses, as far as can be told, and what helps."""
    scope = ptrace_scope(proc)
    if scope == 3:
        return NoRight(facts.pid, "this machine forbids debuggers (kernel.yama.ptrace_scope is 3)", RUN)
    if scope and not may_trace_all():
        return NoRight(
            facts.pid,
            f"this machine lets only root use debuggers (kernel.yama.ptrace_scope is {scope})",
            f"run tuimon as root (sudo), or {RUN}",
        )
    with suppress(OSError):
        # A process that changed its user, or asked for it, belongs to root in here.
        if os.stat(proc / str(facts.pid)).st_uid != facts.uid and not may_trace_all():
            why = "it hides its memory (it is not dumpable)"
            return NoRight(facts.pid, why, f"run tuimon as root, or {RUN}")
    if not may_trace_all() and _capabilities(proc / str(facts.pid)) & ~_capabilities(proc / "self"):
        return NoRight(
            facts.pid,
            "it has capabilities that this process lacks",
            f"give tuimon CAP_SYS_PTRACE (docker: --cap-add=SYS_PTRACE), or {RUN}",
        )
    return NoRight(
        facts.pid,
        "the kernel refuses debuggers here (a container, or a security module)",
        f"start the container with --cap-add=SYS_PTRACE, or {RUN}",
    )


def ptrace_scope(proc: Path = PROC) -> int | None:
    """kernel.yama.ptrace_scope; None where this kernel has no such rule."""
    with suppress(OSError, ValueError):
        return int((proc / "sys" / "kernel" / "yama" / "ptrace_scope").read_text())
    return None


def may_trace_all() -> bool:
    """Whether this process may look into any other, whatever `ptrace_scope` says below 3."""
    return bool(_capabilities(PROC / "self") >> 19 & 1)  # CAP_SYS_PTRACE


def _capabilities(process: Path) -> int:
    with suppress(OSError, ValueError):
        for status in (process / "status").read_text(errors="replace").splitlines():
            if status.startswith("CapEff:"):
                return int(status.split()[1], 16)
    return 0
