"""Compiled kernels for a training, made beforehand and outside of it.

Numba's compiler holds the interpreter for much of its 15 s; in the training process it would stand still
for that. So another process of the training's own Python compiles into the user's cache, once for each
environment, and the training only loads what is there.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import pwd
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tuimon.attach.injection.acting import acting_as
from tuimon.attach.injection.bundle import kernels_archive
from tuimon.attach.process import PROC, ProcessFacts, environment, maps_text, root_directory

#: What is told while one waits for it.
COMPILING = "compiling its kernels for that training's Python, once: about 15 s; the training goes on"

#: After this long the training is entered without them.
PATIENCE_S = 120.0
_TELL_S = 2.0
_LOOK_S = 0.02

_PROGRAM = Path(__file__).parents[2] / "agent" / "warm.py"


@dataclass(frozen=True, slots=True)
class _Job:
    """What is compiled, by which Python, and where to."""

    facts: ProcessFacts
    python: str
    variables: dict[str, str]
    directory: Path
    libraries: str

    @property
    def mark(self) -> str:
        """The marker of this Python on this machine; others may share the directory."""
        who = f"{self.python} {socket.gethostname()}"
        return f"warm-{hashlib.sha256(who.encode()).hexdigest()[:16]}.json"


def warm_kernels(
    facts: ProcessFacts,
    tell: Callable[[str], None],
    stopped: Callable[[], bool],
    proc: Path = PROC,
) -> str | None:
    """A directory from which the process can load compiled kernels; None if it must do without.

    That is so without Numba in its environment, without a cache directory that its user can write, and for
    a process with a file system of its own (a container's).
    """
    if root_directory(facts, proc) != Path("/"):
        return None
    variables = environment(facts, proc)
    python = _python(facts, variables, proc)
    directory = _directory(facts, variables)
    if python is None or directory is None:
        return None
    job = _Job(facts, python, variables, directory, _libraries(facts, proc))
    return str(directory) if _is_warm(facts, directory / job.mark) or _compile(job, tell, stopped) else None


def _python(facts: ProcessFacts, variables: dict[str, str], proc: Path) -> str | None:
    """The command that started the interpreter: by it a virtual environment is found."""
    folder, first = proc / str(facts.pid), (facts.command or ("",))[0]
    with suppress(OSError):
        found: str | None = first
        if "/" not in first:
            found = shutil.which(first, path=variables.get("PATH", os.defpath))
        elif not first.startswith("/"):
            found = os.path.join(os.readlink(folder / "cwd"), first)
        if found is not None and os.path.samefile(found, folder / "exe"):
            return os.path.normpath(found)
        return os.readlink(folder / "exe")
    return None


def _libraries(facts: ProcessFacts, proc: Path) -> str:
    """Where its torch stands, and what was installed beside it: a script may have added that itself."""
    found = re.search(r"(/\S.*)/torch/lib/libtorch", maps_text(facts, proc))
    return found[1] if found else ""


def _directory(facts: ProcessFacts, variables: dict[str, str]) -> Path | None:
    cache = variables.get("XDG_CACHE_HOME", "")
    if not cache.startswith("/"):
        home = variables.get("HOME", "")
        with suppress(KeyError):
            home = home or pwd.getpwuid(facts.uid).pw_dir
        if not home.startswith("/"):
            return None
        cache = os.path.join(home, ".cache")
    return Path(cache, "tuimon", f"kernels-{_digest()}")


@functools.cache
def _digest() -> str:
    return hashlib.sha256(kernels_archive()).hexdigest()[:16]


def _is_warm(facts: ProcessFacts, marker: Path) -> bool:
    with suppress(OSError, ValueError, KeyError, TypeError), acting_as(facts.uid, facts.gid):
        told = json.loads(marker.read_text())
        found = os.stat(told["numba"])
        same = [found.st_mtime_ns, found.st_size] == told["stamp"]
        return bool(same and told["host"] == socket.gethostname())
    return False


def _compile(job: _Job, tell: Callable[[str], None], stopped: Callable[[], bool]) -> bool:
    facts, foreign = job.facts, os.geteuid() != job.facts.uid
    with tempfile.TemporaryFile() as sources:
        sources.write(kernels_archive())
        sources.seek(0)
        try:
            running = subprocess.Popen(
                [job.python, "-c", _PROGRAM.read_text(), str(job.directory), job.mark, job.libraries],
                stdin=sources,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env=job.variables,
                start_new_session=True,
                user=facts.uid if foreign else None,
                group=facts.gid if foreign else None,
                extra_groups=[] if foreign else None,
            )
        except OSError:
            return False
    try:
        return _wait(running, tell, stopped)
    finally:
        if running.poll() is None:
            running.kill()
            running.wait()


def _wait(running: subprocess.Popen[bytes], tell: Callable[[str], None], stopped: Callable[[], bool]) -> bool:
    began_s, told = time.monotonic(), False
    while running.poll() is None:
        waited_s = time.monotonic() - began_s
        if stopped() or waited_s > PATIENCE_S:
            return False
        if waited_s > _TELL_S and not told:
            told = True
            tell(COMPILING)
        time.sleep(_LOOK_S)
    return running.returncode == 0
