"""Where `tuimon run` hears of the trainings in the processes that it started.

A folder that it makes, and that every Python below it knows by an environment variable: a process that
has loaded PyTorch, or in which the agent has started or could not, leaves a line there.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuimon.attach.process import is_running
from tuimon.wire.paths import process_start_ticks, socket_directory
from tuimon.wire.unix import is_listening

#: Read by `tuimon/agent/on_path/_tuimon_run.py`, in the processes below.
VARIABLE = "TUIMON_RUN"
FOLLOWED, KERNELS = "followed", "kernels-"

#: What stands on the path of the Pythons below, and what runs those that do not look there.
ON_PATH = Path(__file__).resolve().parents[1] / "agent" / "on_path"
LAUNCHER = ON_PATH / "_tuimon_launch.py"


@dataclass(frozen=True, slots=True)
class Member:
    """One process below that has loaded PyTorch."""

    pid: int
    #: Whether the agent has started in it; it has not where no step was taken.
    agent: bool = False
    #: Why the agent could not start; None where it did, or was not asked to.
    error: str | None = None
    #: As torchrun or torch.distributed numbers it; None of a process that trains alone.
    rank: int | None = None
    local_rank: int | None = None
    world_size: int | None = None

    @property
    def label(self) -> str:
        """Who it is, for a person: "rank 0 of 2 (process 7)"."""
        if self.rank is None:
            return f"process {self.pid}"
        of = "" if self.world_size is None else f" of {self.world_size}"
        return f"rank {self.rank}{of} (process {self.pid})"


class Meeting:
    """The folder, from before the command starts until after it has ended."""

    def __init__(self) -> None:
        """Make the folder.

        Raises:
            UnsafeDirectory: the place for sockets is not this user's alone.
            OSError: it cannot be made.
        """
        self._sockets = socket_directory()
        _sweep(self._sockets)
        self._folder = self._sockets / f"run-{os.getpid()}-{process_start_ticks(os.getpid())}"
        self._folder.mkdir(0o700)
        self._followed: int | None = None

    def environment(self, options: Mapping[str, Any], before: Mapping[str, str]) -> dict[str, str]:
        """What the command's environment is made of: `before`, and what lets agents start with `options`."""
        order = {
            "meeting": str(self._folder),
            "options": {"directory": str(self._sockets), **options, "how": "run"},
        }
        path = [str(ON_PATH), *filter(None, [before.get("PYTHONPATH")])]
        return {**before, VARIABLE: json.dumps(order), "PYTHONPATH": os.pathsep.join(path)}

    def members(self) -> list[Member]:
        """The processes that have said something so far, the first to speak first."""
        with suppress(OSError):
            files = [file for file in self._folder.iterdir() if file.name.isdigit()]
            files.sort(key=lambda file: (file.stat().st_mtime_ns, file.name))
            return [member for file in files if (member := _member(file)) is not None]
        return []

    def silence(self) -> str:
        """Why no agent has started, as far as the processes tell."""
        members = self.members()
        for member in members:
            if member.error is not None:
                return f"the agent did not start in {member.label}: {member.error}"
        for member in members:
            return f"{member.label} loaded PyTorch, but no backward and no optimizer step was seen"
        return (
            "no Python of the command loaded PyTorch, or it was kept from PYTHONPATH "
            "(sudo, a container, `python -I` in a script)"
        )

    def tell_followed(self, pid: int) -> None:
        """Let the process, and the others, know that it is heard. A full disk is no reason to fail."""
        if pid != self._followed:
            self._followed = pid
            self._leave(FOLLOWED, str(pid))

    def tell_kernels(self, pid: int, directory: str) -> None:
        """Let the process know where kernels are that were compiled for it; in use from its first step on."""
        self._leave(f"{KERNELS}{pid}", directory)

    def _leave(self, name: str, text: str) -> None:
        with suppress(OSError):
            fresh = self._folder / f"{name}.new"
            fresh.write_text(text)
            fresh.rename(self._folder / name)

    def __enter__(self) -> Meeting:
        return self

    def __exit__(self, *_: object) -> None:
        """Take the folder away; processes that outlive the command find none, and do not mind."""
        # Forked ranks end without a goodbye and leave their sockets.
        for member in self.members():
            for path in self._sockets.glob(f"{member.pid}-*.sock"):
                with suppress(OSError):
                    if not is_listening(path):
                        path.unlink()
        shutil.rmtree(self._folder, ignore_errors=True)


def _sweep(sockets: Path) -> None:
    """Take away what runs of tuimon left that were killed."""
    for folder in sockets.glob("run-*-*"):
        with suppress(OSError, ValueError):
            pid, ticks = map(int, folder.name.split("-")[1:])
            if not is_running(pid, ticks):
                shutil.rmtree(folder, ignore_errors=True)


def _member(file: Path) -> Member | None:
    """What the process said, later lines over earlier ones; None if it is half written or not ours."""
    known: dict[str, Any] = {}
    try:
        for line in file.read_text(errors="replace").splitlines():
            said = json.loads(line)
            known.update({name: value for name, value in said.items() if value is not None})
            known["agent"] = known.get("agent", False) or said["what"] == "agent"
        return Member(
            known["pid"], known["agent"], None if known["agent"] else known.get("error"),
            known.get("rank"), known.get("local_rank"), known.get("world_size"),
        )  # fmt: skip
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None
