"""Where agents listen: one socket a process, in a directory that only its user can enter.

The name carries the pid and the start time, so that a pid that is used again cannot be mistaken
for the process that left a socket behind.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

#: Where sockets go when the user has no runtime directory. Fixed, so that both sides agree.
TEMPORARY = Path("/tmp")

_NAME = re.compile(r"([1-9][0-9]{0,9})-([0-9]{1,20})\.sock")


class UnsafeDirectory(OSError):
    """The socket directory is not this user's alone; nothing is put into it or read from it."""

    def __init__(self, path: Path, why: str, remedy: str) -> None:
        super().__init__(f"{path} {why}; {remedy}")
        self.path = path


def directory_candidates(uid: int) -> tuple[Path, ...]:
    """Directories in which an agent of that user may listen, first choice first. Touches no disk.

    A training and its viewer may run in environments that differ (a batch job has no
    XDG_RUNTIME_DIR, a login shell has), so a viewer looks into all of them.
    """
    named = os.environ.get("XDG_RUNTIME_DIR", "")
    found = [Path(named) / "tuimon"] if named.startswith("/") and uid == os.geteuid() else []
    found += [Path(f"/run/user/{uid}/tuimon"), TEMPORARY / f"tuimon-{uid}"]
    return tuple(dict.fromkeys(found))


def socket_directory(uid: int | None = None) -> Path:
    """The directory in which a process of this user listens, made (0700) where it is missing.

    `$XDG_RUNTIME_DIR/tuimon` where that is a directory of this user's, else `/tmp/tuimon-UID`.

    Args:
        uid: the user, by default the effective one of this process.

    Raises:
        UnsafeDirectory: what stands there is a link, no directory, another user's, or open to others.
        OSError: it cannot be made.
    """
    uid = os.geteuid() if uid is None else uid
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    # `su` and `sudo` hand on another user's runtime directory, batch systems one that is gone.
    path = Path(runtime) / "tuimon" if _is_own_directory(runtime, uid) else TEMPORARY / f"tuimon-{uid}"
    try:
        path.mkdir(0o700)
    except FileExistsError:
        pass
    else:
        path.chmod(0o700)  # a umask that takes the owner's bits away
    check_directory(path, uid)
    return path


def check_directory(path: Path, uid: int) -> None:
    """Pass if the directory is that user's alone.

    Raises:
        UnsafeDirectory: it is a link, no directory, another user's, or open to others.
        FileNotFoundError: there is nothing.
    """
    found = path.lstat()
    if stat.S_ISLNK(found.st_mode) or not stat.S_ISDIR(found.st_mode):
        raise UnsafeDirectory(path, "is no directory", "remove it")
    if found.st_uid != uid:
        raise UnsafeDirectory(
            path,
            f"belongs to user {found.st_uid}, not {uid}",
            "set XDG_RUNTIME_DIR to a directory of your own",
        )
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise UnsafeDirectory(path, "is open to other users", f"run: chmod 700 {path}")


def socket_path(pid: int, start_time_ticks: int, directory: Path | None = None) -> Path:
    """Where the agent of that process listens; see `socket_directory` for what may be raised."""
    return (socket_directory() if directory is None else directory) / f"{pid}-{start_time_ticks}.sock"


def parse_socket_name(name: str) -> tuple[int, int] | None:
    """Pid and start time (ticks) in a socket's file name; None for any other file."""
    found = _NAME.fullmatch(name)
    return (int(found[1]), int(found[2])) if found else None


def process_start_ticks(pid: int, proc: Path = Path("/proc")) -> int:
    """Start time of a process in clock ticks since boot: with the pid, its identity.

    Raises:
        ProcessLookupError: there is no such process, or none that this user may see.
    """
    try:
        text = (proc / str(pid) / "stat").read_bytes()
    except OSError:
        raise ProcessLookupError(f"no process {pid}") from None
    # The command in parentheses may hold anything, parentheses and spaces included; field 22.
    return int(text[text.rindex(b")") + 2 :].split()[19])


def _is_own_directory(path: str, uid: int) -> bool:
    if not path.startswith("/"):
        return False
    try:
        found = os.stat(path)
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == uid
