"""What of this machine matters to attaching, each with what to do about it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tuimon.attach.injection.entry_errors import RUN
from tuimon.attach.injection.preflight import debugger, may_trace_all, ptrace_scope
from tuimon.attach.inspection import ptrace
from tuimon.attach.inspection.findings import Finding
from tuimon.attach.inspection.stack import INSTALL, stack_program
from tuimon.attach.process import PROC
from tuimon.attach.transport import user_name
from tuimon.wire.paths import UnsafeDirectory, check_directory, directory_candidates

#: What a child of the training may be traced by, where only root may trace others.
_LET_IN = "or start the training with `setpriv --ptracer any COMMAND` (util-linux 2.41)"

_CONTAINERS = (("docker", "/.dockerenv"), ("podman", "/run/.containerenv"))
_SECCOMP = {"0": "no filter", "1": "strict", "2": "a filter"}

#: How long a program may take to tell its version, seconds.
_VERSION_S = 10.0


def machine_findings(proc: Path = PROC) -> list[Finding]:
    """How this machine stands towards attaching to a process of it. Takes a fraction of a second."""
    return [look(proc) for look in _LOOKS]


def _user(proc: Path) -> Finding:
    uid = os.geteuid()
    whose = "processes of every user" if uid == 0 else "processes of this user"
    return Finding("user", "note", f"{user_name(uid)} ({uid}): {whose}")


def _gdb(proc: Path) -> Finding:
    path = debugger()
    if path is None:
        return Finding(
            "gdb",
            "no",
            "not installed; without it only CPython 3.14 and newer can be entered",
            f"install it (apt install gdb), or {RUN}",
        )
    return Finding("gdb", "ok", f"{_version(path, '--version') or 'of unknown version'}, {path}")


def _scope(proc: Path) -> Finding:
    scope, name = ptrace_scope(proc), "kernel.yama.ptrace_scope"
    if scope is None:
        return Finding("ptrace_scope", "ok", "this kernel has no such rule")
    if scope == 0:
        return Finding("ptrace_scope", "ok", f"{name} is 0")
    if scope == 3:
        return Finding("ptrace_scope", "no", f"{name} is 3: nobody may enter a process", RUN)
    if may_trace_all():
        return Finding("ptrace_scope", "ok", f"{name} is {scope}, and this user may nevertheless")
    remedy = f"run tuimon as root (sudo), or {RUN}" + (f", {_LET_IN}" if scope == 1 else "")
    return Finding("ptrace_scope", "no", f"{name} is {scope}: only root may enter processes", remedy)


def _ptrace(proc: Path) -> Finding:
    refused = ptrace.refusal()
    if refused is None:
        return Finding("ptrace", "ok", "allowed (tried on a process of its own)")
    return Finding(
        "ptrace",
        "no",
        f"forbidden altogether ({refused.strerror}): a container's filter, or a security module",
        f"start the container with --cap-add=SYS_PTRACE, or {RUN}",
    )


def _capability(proc: Path) -> Finding:
    has = "with" if may_trace_all() else "without"
    return Finding("capabilities", "note", f"{has} CAP_SYS_PTRACE")


def _container(proc: Path) -> Finding:
    kinds = [kind for kind, mark in _CONTAINERS if Path(mark).exists()]
    if "KUBERNETES_SERVICE_HOST" in os.environ:
        kinds.append("kubernetes")
    seccomp = _SECCOMP.get(_status(proc).get("Seccomp", ""), "unknown")
    inside = f"inside one ({', '.join(kinds)})" if kinds else "none that one can see"
    return Finding("container", "note", f"{inside}; seccomp: {seccomp}")


def _sockets(proc: Path) -> Finding:
    for directory in directory_candidates(os.geteuid()):
        try:
            check_directory(directory, os.geteuid())
        except UnsafeDirectory as error:
            what, _, remedy = str(error).partition("; ")
            return Finding("sockets", "no", what, remedy)
        except OSError:
            continue
        return Finding("sockets", "ok", f"{directory}, open to this user only")
    return Finding("sockets", "ok", "no directory yet; the first training that is watched makes it")


def _stack(proc: Path) -> Finding:
    path = stack_program()
    if path is None:
        return Finding("py-spy", "note", "not installed; it shows where a training hangs", INSTALL)
    return Finding("py-spy", "ok", f"{_version(path, '--version') or 'of unknown version'}, {path}")


def _ssh(proc: Path) -> Finding:
    path = shutil.which("ssh")
    if path is None:
        return Finding("ssh", "note", "not installed; it leads to other machines", "install openssh-client")
    return Finding("ssh", "ok", f"{_version(path, '-V') or 'of unknown version'}, {path}")


#: In the order in which they are told.
_LOOKS: tuple[Callable[[Path], Finding], ...] = (
    _user, _gdb, _scope, _ptrace, _capability, _container, _sockets, _stack, _ssh,
)  # fmt: skip


def _status(proc: Path) -> dict[str, str]:
    with suppress(OSError):
        lines = (proc / "self" / "status").read_text(errors="replace").splitlines()
        return dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    return {}


def _version(program: str, option: str) -> str | None:
    """The first line it says about itself."""
    with suppress(OSError, subprocess.TimeoutExpired):
        ran = subprocess.run(
            [program, option], capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL,
            timeout=_VERSION_S, check=False,
        )  # fmt: skip
        found = re.search(r"\S.*", ran.stdout + ran.stderr)
        return found[0].strip() if found else None
    return None
