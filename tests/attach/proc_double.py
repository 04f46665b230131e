"""A /proc made of files, with as many processes as a test needs."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

PYTHON = ("python", "train.py")
TORCH_MAPS = "7f00-7f01 r-xp 0 0 0 /venv/lib/python3.11/site-packages/torch/lib/libtorch_cpu.so\n"


@dataclass
class ProcDouble:
    """Writes what the kernel would show."""

    root: Path

    def add(
        self,
        pid: int,
        *,
        command: tuple[str, ...] = PYTHON,
        exe: str = "/usr/bin/python3.11",
        maps: str = TORCH_MAPS,
        parent: int = 1,
        uid: int | None = None,
        state: str = "S (sleeping)",
        inner_pid: int | None = None,
        environ: dict[str, str] | None = None,
        mount_namespace: int = 1,
        tracer: int = 0,
        comm: str = "any",
        debuggable: bool = True,
    ) -> int:
        """One process; its start time (ticks) is a hundred times its pid. Not `debuggable`: ended."""
        uid = os.geteuid() if uid is None else uid
        folder = self.root / str(pid)
        (folder / "ns").mkdir(parents=True)
        start = 100 * pid
        fields = " ".join(["S", *map(str, range(4, 22)), str(start), *map(str, range(23, 53))])
        (folder / "stat").write_text(f"{pid} (any) {fields}\n")
        pids = f"{pid}" if inner_pid is None else f"{pid}\t{inner_pid}"
        (folder / "status").write_text(
            f"Name:\tany\nState:\t{state}\nPPid:\t{parent}\nTracerPid:\t{tracer}\nUid:\t0\t{uid}\t0\t0\nNSpid:\t{pids}\n"
        )
        (folder / "cmdline").write_bytes(b"".join(os.fsencode(word) + b"\0" for word in command))
        (folder / "maps").write_text(maps)
        (folder / "environ").write_bytes(
            b"\0".join(f"{k}={v}".encode() for k, v in {"A": "b", **(environ or {})}.items()) + b"\0"
        )
        (folder / "comm").write_text(f"{comm}\n")
        if debuggable:
            (folder / "mem").write_bytes(b"")
        (folder / "exe").symlink_to(exe)
        (folder / "ns" / "mnt").symlink_to(f"mnt:[{mount_namespace}]")
        return pid


def proc_double(root: Path) -> ProcDouble:
    """An empty machine, seen from mount namespace 1."""
    (root / "self" / "ns").mkdir(parents=True)
    (root / "self" / "ns" / "mnt").symlink_to("mnt:[1]")
    (root / "meminfo").touch()
    return ProcDouble(root)
