"""The way in that Python >= 3.14 has itself (PEP 768): no debugger, and the process is not stopped for it."""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from pathlib import Path

from tuimon.attach.process import PROC, ProcessFacts

#: Starting an interpreter and writing a path into the other one's memory takes some 30 ms.
PATIENCE_S = 20.0

_ASK = "import sys; sys.remote_exec(int(sys.argv[1]), sys.argv[2])"


class NoRemoteExec(Exception):
    """It cannot be had; gdb may do."""


def run_script(facts: ProcessFacts, script: str, proc: Path = PROC) -> None:
    """Have the process run the file `script` (a path as it sees it) as soon as it runs Python code.

    The process's own program asks, since asker and asked must be of the very same version.

    Raises:
        NoRemoteExec: it was refused, or that program cannot be run from here.
    """
    program = proc / str(facts.pid) / "exe"
    # Root runs no program of somebody else's as root.
    foreign = os.geteuid() == 0 and not _is_roots(program)
    try:
        asked = subprocess.run(
            [program, "-I", "-S", "-c", _ASK, str(facts.pid), script],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PATIENCE_S,
            check=False,
            start_new_session=True,
            user=facts.uid if foreign else None,
            group=facts.gid if foreign else None,
            extra_groups=[] if foreign else None,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise NoRemoteExec(str(error)) from None
    if asked.returncode != 0:
        lines = asked.stderr.strip().splitlines()
        raise NoRemoteExec(lines[-1] if lines else f"it ended with code {asked.returncode}")


def _is_roots(program: Path) -> bool:
    with suppress(OSError):
        return os.stat(program).st_uid == 0
    return False
