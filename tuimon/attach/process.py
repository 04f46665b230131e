"""What the kernel tells about a process, as far as finding trainings needs it."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tuimon.wire.paths import process_start_ticks

PROC = Path("/proc")

_PYTHON = re.compile(r"(python|pypy)[0-9.]*t?d?")

#: What PyTorch calls the main thread of a DataLoader's worker, and since when.
_WORKER, _NAMES_WORKERS = "pt_data_worker", (2, 6)


@dataclass(frozen=True, slots=True)
class ProcessFacts:
    """One process, looked at once."""

    pid: int
    parent: int
    #: Effective user and group.
    uid: int
    gid: int
    #: Start time in clock ticks since boot: with the pid, its identity.
    start_time_ticks: int
    #: Its pid as it sees it itself; another than `pid` inside a container.
    inner_pid: int
    command: tuple[str, ...]
    #: Whether it has ended and only waits to be collected.
    ended: bool
    #: Whether it is held: by a job control signal, or by a debugger.
    stopped: bool
    #: The process that debugs it; None without one.
    tracer: int | None


def process_facts(pid: int, proc: Path = PROC) -> ProcessFacts:
    """The process as it is now.

    Raises:
        ProcessLookupError: there is none, or none that this user may see.
    """
    start_time_ticks = process_start_ticks(pid, proc)
    try:
        status = (proc / str(pid) / "status").read_text(errors="replace")
        command = (proc / str(pid) / "cmdline").read_bytes()
    except OSError:
        raise ProcessLookupError(f"no process {pid}") from None
    lines = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    return ProcessFacts(
        pid=pid,
        parent=int(lines["PPid"]),
        uid=int(lines["Uid"].split()[1]),
        gid=int(lines.get("Gid", "0 0").split()[1]),
        start_time_ticks=start_time_ticks,
        inner_pid=int(lines.get("NSpid", str(pid)).split()[-1]),
        command=tuple(part.decode(errors="replace") for part in command.split(b"\0")[:-1]),
        ended=lines["State"][:1] in "ZX",
        stopped=lines["State"][:1] in "Tt",
        tracer=int(lines.get("TracerPid", "0")) or None,
    )


def all_processes(proc: Path = PROC) -> list[ProcessFacts]:
    """Every process that this user may see, in ascending order of pid; kernel threads left out."""
    found = []
    for pid in sorted(int(entry) for entry in os.listdir(proc) if entry.isdigit()):
        with suppress(ProcessLookupError):
            facts = process_facts(pid, proc)
            if facts.command and not facts.ended:
                found.append(facts)
    return found


def is_running(pid: int, start_time_ticks: int, proc: Path = PROC) -> bool:
    """Whether that very process still runs: not ended, and not another one with its pid."""
    try:
        facts = process_facts(pid, proc)
    except ProcessLookupError:
        return False
    return facts.start_time_ticks == start_time_ticks and not facts.ended


def runs_python(facts: ProcessFacts, proc: Path = PROC) -> bool:
    """Whether the program is a Python interpreter, or one is loaded into it."""
    names = [Path(word).name for word in facts.command[:1]]
    with suppress(OSError):
        names.append(Path(os.readlink(proc / str(facts.pid) / "exe")).name)
    if any(_PYTHON.fullmatch(name) for name in names):
        return True
    # Under another name, or inside of another program: by its libraries.
    maps = _maps(facts, proc)
    return any(mark in maps for mark in (b"/libpython", b".cpython-3", b"/libtorch_python"))


def has_torch(facts: ProcessFacts, proc: Path = PROC) -> bool:
    """Whether PyTorch is loaded; False as well where this user may not look."""
    return b"/libtorch" in _maps(facts, proc)


def runtime_directory(facts: ProcessFacts, proc: Path = PROC) -> Path | None:
    """XDG_RUNTIME_DIR as the process was started with; None without one, or where one may not look."""
    named = environment(facts, proc).get("XDG_RUNTIME_DIR", "")
    return Path(named) if named.startswith("/") else None


def environment(facts: ProcessFacts, proc: Path = PROC) -> dict[str, str]:
    """The environment that the process was started with; empty where one may not look."""
    with suppress(OSError):
        entries = (proc / str(facts.pid) / "environ").read_bytes().split(b"\0")
        pairs = (entry.partition(b"=") for entry in entries if b"=" in entry)
        return {os.fsdecode(name): os.fsdecode(value) for name, _, value in pairs}
    return {}


def root_directory(facts: ProcessFacts, proc: Path = PROC) -> Path:
    """Where the process's file system begins, seen from here; not "/" for a container's or after a chroot."""
    for name in ("ns/mnt", "root"):
        with suppress(OSError):
            if os.readlink(proc / "self" / name) != os.readlink(proc / str(facts.pid) / name):
                return proc / str(facts.pid) / "root"
    return Path("/")


def is_worker(facts: ProcessFacts, parent: ProcessFacts | None, proc: Path = PROC) -> bool:
    """Whether it only loads data for the training `parent` (None: its parent is no training)."""
    with suppress(OSError):
        if (proc / str(facts.pid) / "comm").read_text().strip() == _WORKER:
            return True
    # A forked worker has its parent's command line. So have ranks that are forked (from a notebook), but
    # PyTorch names its workers, so that a process without the name is a rank, if this one is new enough.
    return parent is not None and parent.command == facts.command and not names_workers(facts, proc)


def names_workers(facts: ProcessFacts, proc: Path = PROC) -> bool:
    """Whether its PyTorch gives the workers of a DataLoader a name."""
    found = re.search(rb"(/[^\n]*/torch)/lib/libtorch", _maps(facts, proc))
    if found is None:
        return False
    with suppress(OSError):
        folder = root_directory(facts, proc) / os.fsdecode(found[1]).lstrip("/")
        version = re.search(r"__version__ = '([0-9]+)\.([0-9]+)", (folder / "version.py").read_text())
        return version is not None and (int(version[1]), int(version[2])) >= _NAMES_WORKERS
    return False


def maps_text(facts: ProcessFacts, proc: Path = PROC) -> str:
    """What is mapped into the process, a line each; empty where one may not look."""
    return os.fsdecode(_maps(facts, proc))


def _maps(facts: ProcessFacts, proc: Path) -> bytes:
    with suppress(OSError):
        return (proc / str(facts.pid) / "maps").read_bytes()
    return b""
