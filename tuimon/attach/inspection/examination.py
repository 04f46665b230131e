"""Whether one can attach to a process: the checks of `tuimon.attach.injection.preflight`, told one by one."""

from __future__ import annotations

import os
import re
import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from tuimon.attach.ask import ask
from tuimon.attach.discovery import find_socket, standing_for
from tuimon.attach.errors import AttachError, NoSuchProcess, StaleSocket
from tuimon.attach.injection.preflight import CHECKS, REMOTE, debugger, examine, python_version
from tuimon.attach.inspection.findings import Finding, clear
from tuimon.attach.inspection.stack import Whereabouts, activity, main_thread
from tuimon.attach.process import (
    PROC,
    ProcessFacts,
    environment,
    maps_text,
    process_facts,
    root_directory,
)
from tuimon.attach.transport import UnixTransport, user_name

#: How long the main thread is watched, seconds: a training that runs is switched many times in it.
WATCH_S = 0.5

#: What these find missing leaves nothing to look for.
_FIRST = ("itself", "user", "python", "torch")

#: What makes the agent fast, where the training's environment has it.
_HELPERS = (("numba", "on a CPU"), ("triton", "on a GPU"))


@dataclass(frozen=True, slots=True)
class Examination:
    """A process, looked at from outside."""

    pid: int
    findings: tuple[Finding, ...]
    #: Whether an agent answers in it already.
    inside: bool
    #: Where its main thread was just then; None where one may not look.
    whereabouts: Whereabouts | None

    @property
    def attachable(self) -> bool:
        """Whether one can attach: an agent answers, or nothing speaks against bringing one in."""
        return self.inside or clear(self.findings)


def examination(pid: int, proc: Path = PROC, watch_s: float = WATCH_S) -> Examination:
    """Everything about the process that matters to attaching. It is neither stopped nor touched.

    For a launcher its first rank is looked at, as attaching does. Takes about `watch_s`: for so long its
    main thread is watched, to tell whether it runs.

    Raises:
        NoSuchProcess: there is none.
    """
    try:
        facts = process_facts(pid, proc)
    except ProcessLookupError:
        raise NoSuchProcess(pid) from None
    if facts.ended:
        raise NoSuchProcess(pid)
    ranks = [rank.facts for rank in standing_for(pid, proc)]
    if ranks:
        facts = ranks[0]
    began_s, before = time.monotonic(), activity(facts.pid, proc)
    agent = _agent(facts, proc)
    findings = [*_launcher(pid, ranks), *_checked(facts, proc)]
    if clear(findings):
        findings.append(_program(facts, proc))
    looked_into = not any(finding.name == "user" and finding.verdict == "no" for finding in findings)
    whereabouts = None
    if looked_into:
        findings += [_namespaces(facts, proc), *_libraries(facts, proc)]
        with suppress(ProcessLookupError):
            whereabouts = main_thread(facts.pid, proc)
            time.sleep(max(0.0, began_s + watch_s - time.monotonic()))
            if before is not None and activity(facts.pid, proc) == before:
                whereabouts = replace(whereabouts, still_s=time.monotonic() - began_s)
    return Examination(facts.pid, (agent, *findings), agent.verdict == "ok", whereabouts)


def _launcher(pid: int, ranks: Sequence[ProcessFacts]) -> Iterator[Finding]:
    if ranks:
        others = ", ".join(str(facts.pid) for facts in ranks[1:])
        more = f"; the others: {others}" if others else ""
        yield Finding("launcher", "note", f"process {pid} started it{more}")


def _agent(facts: ProcessFacts, proc: Path) -> Finding:
    try:
        path = find_socket(facts.pid, proc)
    except StaleSocket as error:
        return Finding("tuimon", "no", error.what, error.remedy)
    except AttachError:
        return Finding("tuimon", "note", "not inside")
    try:
        hello, step = ask(UnixTransport(path, facts.pid, facts.uid))
    except AttachError as error:
        return Finding("tuimon", "no", error.what, error.remedy)
    except OSError as error:
        return Finding("tuimon", "no", f"inside, and the connection to it broke: {error}", "try again")
    return Finding(
        "tuimon", "ok", f"inside ({hello.name}), " + ("no step yet" if step is None else f"step {step}")
    )


def _checked(facts: ProcessFacts, proc: Path) -> Iterator[Finding]:
    for name, passes in CHECKS:
        try:
            passes(facts, proc)
        except AttachError as error:
            yield Finding(name, "no", error.what, error.remedy)
            if name in _FIRST:
                return
            continue
        yield Finding(name, "ok", _PASSED[name](facts, proc) if name in _PASSED else "fine")


def _program(facts: ProcessFacts, proc: Path) -> Finding:
    """What is looked at only before a process is entered: it takes some tenths of a second."""
    try:
        calls = examine(facts, proc).calls
    except AttachError as error:
        return Finding("program", "no", error.what, error.remedy)
    return Finding("program", "ok", f"the {len(calls)} functions to call in it were found")


def _itself(facts: ProcessFacts, proc: Path) -> str:
    return shlex.join(facts.command)[:100]


def _user(facts: ProcessFacts, proc: Path) -> str:
    return f"belongs to {user_name(facts.uid)}"


def _python(facts: ProcessFacts, proc: Path) -> str:
    version = python_version(facts, proc)
    named = "CPython" if version is None else f"CPython {version[0]}.{version[1]}"
    with suppress(OSError):
        named += f", {os.readlink(proc / str(facts.pid) / 'exe')}"
    return named + (" (libpython)" if "/libpython" in maps_text(facts, proc) else " (static)")


def _torch(facts: ProcessFacts, proc: Path) -> str:
    packages = _packages(facts, proc)
    if packages is None:
        return "PyTorch is loaded"
    version = None
    with suppress(OSError):
        version = re.search(
            r"__version__ = '([^']+)'", (packages.here / "torch" / "version.py").read_text(errors="replace")
        )
    return f"PyTorch {'' if version is None else version[1]} in {packages.inside}"


def _way(facts: ProcessFacts, proc: Path) -> str:
    version = python_version(facts, proc)
    if version is None or version < REMOTE:
        return "gdb is here, and its Python has no way in of its own (3.14 has)"
    disabled = "PYTHON_DISABLE_REMOTE_DEBUG" in environment(facts, proc) or any(
        "disable-remote-debug" in word or "disable_remote_debug" in word for word in facts.command
    )
    if not disabled:
        return "its Python lets one in by itself (sys.remote_exec)"
    return "sys.remote_exec is switched off in it" + ("; gdb is here" if debugger() else "")


_PASSED: dict[str, Callable[[ProcessFacts, Path], str]] = {
    "itself": _itself,
    "user": _user,
    "python": _python,
    "torch": _torch,
    "worker": lambda facts, proc: "no DataLoader worker",
    "held": lambda facts, proc: "neither stopped nor held by a debugger",
    "right": lambda facts, proc: "this user may look into it",
    "debugger": _way,
}


def _namespaces(facts: ProcessFacts, proc: Path) -> Finding:
    parts = []
    if facts.inner_pid != facts.pid:
        parts.append(f"process {facts.inner_pid} in a pid namespace of its own")
    root = root_directory(facts, proc)
    if root != Path("/"):
        parts.append(f"its files lie below {root}")
    return Finding("container", "note", ", ".join(parts) or "the same as here")


@dataclass(frozen=True, slots=True)
class _Packages:
    """Where the training's environment keeps its packages: as it names that place, and seen from here."""

    inside: str
    here: Path


def _packages(facts: ProcessFacts, proc: Path) -> _Packages | None:
    found = re.search(r" (/[^\n]*)/torch/lib/libtorch", maps_text(facts, proc))
    if found is None:
        return None
    return _Packages(found[1], root_directory(facts, proc) / found[1].lstrip("/"))


def _libraries(facts: ProcessFacts, proc: Path) -> Iterator[Finding]:
    packages = _packages(facts, proc)
    if packages is None:
        return
    for name, where in _HELPERS:
        if (packages.here / name).is_dir():
            yield Finding(name, "note", f"there, and used {where}")
        else:
            yield Finding(name, "note", f"not in its environment: watching is slower {where}")
