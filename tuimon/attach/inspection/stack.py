"""Where the main thread of a process is, seen from outside: nothing is stopped, nothing is changed.

The kernel tells what a thread waits for; py-spy, where it is installed, reads the Python calls out of the
process's memory while it runs, so that the calls of a thread that moves may be torn. A thread that
hangs does not move.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuimon.attach.process import PROC

#: What brings py-spy.
INSTALL = "pip install 'tuimon[stack]'"

#: How long py-spy may take, seconds. It reads memory only: it can be killed at any time.
_PATIENCE_S = 20.0

_STATES = {
    "R": "running", "S": "waiting", "D": "waiting for a device", "T": "stopped", "t": "held by a debugger",
    "Z": "ended",
}  # fmt: skip

#: Calls in which threads wait, by number: for x86-64 and for 64-bit ARM.
_CALLS = {
    "x86_64": {
        0: "read", 1: "write", 7: "poll", 16: "ioctl", 23: "select", 35: "nanosleep", 42: "connect",
        43: "accept", 44: "sendto", 45: "recvfrom", 46: "sendmsg", 47: "recvmsg", 61: "wait4", 73: "flock",
        202: "futex", 230: "clock_nanosleep", 232: "epoll_wait", 247: "waitid", 270: "pselect6",
        271: "ppoll", 281: "epoll_pwait", 288: "accept4", 441: "epoll_pwait2",
    },
    "aarch64": {
        22: "epoll_pwait", 29: "ioctl", 32: "flock", 63: "read", 64: "write", 72: "pselect6", 73: "ppoll",
        95: "waitid", 98: "futex", 101: "nanosleep", 115: "clock_nanosleep", 202: "accept", 203: "connect",
        206: "sendto", 207: "recvfrom", 211: "sendmsg", 212: "recvmsg", 242: "accept4", 260: "wait4",
        441: "epoll_pwait2",
    },
}  # fmt: skip

_MEANINGS = (
    (("futex",), "for a lock or another thread"),
    (("read", "poll", "ppoll", "select", "pselect6", "recvfrom", "recvmsg", "epoll_wait", "epoll_pwait",
      "epoll_pwait2", "accept", "accept4", "connect"), "for data or another process"),
    (("write", "sendto", "sendmsg"), "for somebody to take data"),
    (("ioctl",), "for a device driver"),
    (("nanosleep", "clock_nanosleep"), "for time to pass"),
    (("wait4", "waitid"), "for a process that it started"),
    (("flock",), "for a locked file"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Frame:
    """One Python call."""

    function: str
    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.function} ({os.path.basename(self.file)}:{self.line})"


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Where a main thread is just now."""

    #: Such as "running" or "waiting"; None where the kernel does not tell.
    state: str | None
    #: The system call that it is in, by name or number; None where it is in none or none is told.
    call: str | None
    #: The kernel's own function in which it waits.
    kernel: str | None
    #: Python calls, innermost first; empty where they cannot be seen, for the reason `unseen`.
    frames: tuple[Frame, ...] = ()
    unseen: str | None = None
    #: For how long it was watched and did not run at all, seconds; None where it ran, or was not watched.
    still_s: float | None = None

    def in_words(self) -> str:
        """All but the outer calls, in half a line."""
        words = self.state or "in an unknown state"
        if self.call is not None:
            purpose = next((what for names, what in _MEANINGS if self.call in names), None)
            words += "" if purpose is None else f" {purpose}"
            words += f" in {self.call}"
        if self.kernel is not None and self.call is None:
            words += f" in the kernel's {self.kernel}"
        return words + (f", called from {self.frames[0]}" if self.frames else "")


def main_thread(pid: int, proc: Path = PROC) -> Whereabouts:
    """Where the main thread of the process is. Takes as long as py-spy, some 0.1 s.

    Raises:
        ProcessLookupError: there is no such process.
    """
    task = proc / str(pid) / "task" / str(pid)
    try:
        state = (task / "stat").read_text(errors="replace").rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        raise ProcessLookupError(f"no process {pid}") from None
    call, kernel = _text(task / "syscall").split(" ")[0], _text(task / "wchan")
    frames, unseen = _python_calls(pid)
    return Whereabouts(
        state=_STATES.get(state),
        call=_call_name(call),
        kernel=kernel if kernel not in ("", "0") else None,
        frames=frames,
        unseen=unseen,
    )


def activity(pid: int, proc: Path = PROC) -> tuple[str, ...] | None:
    """Changes whenever the main thread of the process runs; None where the kernel does not tell.

    It is how often the thread was given a processor and had it taken away, and for how long it used one.
    """
    task = proc / str(pid) / "task" / str(pid)
    switches = [line for line in _text(task / "status").splitlines() if "ctxt_switches" in line]
    times = _text(task / "stat").rpartition(")")[2].split()[11:13]
    return (*switches, *times) if switches and times else None


def stack_program() -> str | None:
    """The path of py-spy; None where it is not installed."""
    # Beside this Python: an environment need not be on the PATH.
    return shutil.which("py-spy", path=f"{os.path.dirname(sys.executable)}:{os.environ.get('PATH', '')}")


def _python_calls(pid: int) -> tuple[tuple[Frame, ...], str | None]:
    program = stack_program()
    if program is None:
        return (), f"py-spy is not installed; {INSTALL}"
    command = [program, "dump", "--pid", str(pid), "--json", "--nonblocking"]
    try:
        ran = subprocess.run(
            command, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL,
            timeout=_PATIENCE_S, check=False, start_new_session=True,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return (), f"py-spy: {error}"
    with suppress(ValueError, TypeError, KeyError, AttributeError):
        return _frames(pid, json.loads(ran.stdout)), None
    said = ran.stderr.strip().splitlines()
    return (), f"py-spy: {said[0] if said else f'exit code {ran.returncode}'}"


def _frames(pid: int, threads: Sequence[dict[str, Any]]) -> tuple[Frame, ...]:
    """The main thread's: its number is the process's, or, inside a container, its name tells."""
    chosen = [t for t in threads if t["os_thread_id"] == pid] or [
        t for t in threads if t["thread_name"] == "MainThread"
    ]
    return tuple(Frame(f["name"], f["filename"], int(f["line"])) for t in chosen[:1] for f in t["frames"])


def _call_name(number: str) -> str | None:
    if not number.isdigit():
        return None  # "running", or nothing that one may see
    return _CALLS.get(platform.machine(), {}).get(int(number), f"system call {number}")


def _text(path: Path) -> str:
    with suppress(OSError):
        return path.read_text(errors="replace").strip()
    return ""
