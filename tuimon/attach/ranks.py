"""Which processes train, which rank each of them is, and who launched them.

A launcher (torchrun, the parent of `torch.multiprocessing.spawn`, a shell, `tuimon run`) has loaded PyTorch
or not, but takes no step. Its pid stands for the trainings below it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from tuimon.attach.process import (
    PROC,
    ProcessFacts,
    environment,
    has_torch,
    is_worker,
    names_workers,
    runs_python,
)

#: In the command line of what a training starts for its own purposes: none of these trains.
_HELPERS = ("multiprocessing.forkserver", "multiprocessing.resource_tracker", "_inductor/compile_worker")
#: Ranks made with `torch.multiprocessing.spawn` look like this, and so do a DataLoader's workers.
_SPAWNED = "multiprocessing.spawn"
_LAUNCHERS = (
    "torchrun", "torch.distributed.run", "torch.distributed.launch", "accelerate",
    "accelerate.commands.launch", "deepspeed", "deepspeed.launcher.launch",
)  # fmt: skip
#: A launcher stands before its script: `python -m torch.distributed.run train.py`, `torchrun train.py`.
_LAUNCHER_WORDS = 4


@dataclass(frozen=True, slots=True)
class Training:
    """One process that trains, among those that were started with it."""

    facts: ProcessFacts
    #: None where it is no rank.
    rank: int | None = None
    world_size: int | None = None
    #: The process that launched the ranks; None where none is to be seen.
    launcher: int | None = None

    @property
    def label(self) -> str:
        """Who it is, for a person: "rank 0 of 2, process 7"."""
        if self.rank is None:
            return f"process {self.facts.pid}"
        of = "" if self.world_size is None else f" of {self.world_size}"
        return f"rank {self.rank}{of}, process {self.facts.pid}"


class Processes:
    """The processes of a machine, as they were a moment ago.

    Args:
        processes: all that one may look into.
        watched: pids of those in which an agent listens.
        proc: where the kernel tells of them.
    """

    def __init__(
        self, processes: Sequence[ProcessFacts], watched: Collection[int], proc: Path = PROC
    ) -> None:
        self._watched, self._proc = watched, proc
        self._by_pid = {p.pid: p for p in processes}
        self._children: dict[int, list[ProcessFacts]] = {}
        for p in processes:
            self._children.setdefault(p.parent, []).append(p)
        self._loaded = {p.pid for p in processes if runs_python(p, proc) and has_torch(p, proc)}

    def trainings(self) -> list[Training]:
        """Every process that trains, ascending by pid: those with an agent, and those that have loaded
        PyTorch for themselves.
        """
        return [self._training(p) for p in self._by_pid.values() if self._trains(p)]

    def below(self, pid: int) -> list[Training]:
        """The trainings that this process stands for, the lowest rank first; none if it trains itself."""
        if pid in self._by_pid and self._trains(self._by_pid[pid]):
            return []
        found: list[Training] = []
        waiting = list(self._children.get(pid, ()))
        while waiting:
            p = waiting.pop()
            if self._trains(p):
                found.append(self._training(p))
            else:
                waiting += self._children.get(p.pid, ())
        return sorted(found, key=lambda t: (t.rank or 0, t.facts.start_time_ticks, t.facts.pid))

    def _trains(self, p: ProcessFacts) -> bool:
        if p.pid in self._watched:
            return True
        if p.pid not in self._loaded or _has(p, _HELPERS) or _launches(p):
            return False
        if _has(p, (_SPAWNED,)):
            return self._is_spawned_rank(p)
        parent = self._by_pid[p.parent] if p.parent in self._loaded else None
        return not is_worker(p, parent, self._proc) and not self._spawned_ranks(p)

    def _is_spawned_rank(self, p: ProcessFacts) -> bool:
        """Whether it was spawned to train: not where that cannot be told from a worker that loads data."""
        if not _has(p, (_SPAWNED,)):
            return False
        if p.pid in self._watched:
            return True
        # Below a process that trains itself there are only workers, some of which have no name yet.
        if p.pid not in self._loaded or p.parent in self._watched:
            return False
        return names_workers(p, self._proc) and not is_worker(p, None, self._proc)

    def _spawned_ranks(self, parent: ProcessFacts) -> list[ProcessFacts]:
        """In the order in which they were started, which is that of their ranks."""
        found = [p for p in self._children.get(parent.pid, ()) if self._is_spawned_rank(p)]
        return sorted(found, key=lambda p: (p.start_time_ticks, p.pid))

    def _training(self, p: ProcessFacts) -> Training:
        if _has(p, (_SPAWNED,)) and p.parent in self._by_pid:
            siblings = self._spawned_ranks(self._by_pid[p.parent])
            return Training(p, siblings.index(p), len(siblings), p.parent) if p in siblings else Training(p)
        told = environment(p, self._proc)
        rank, world_size = _number(told.get("RANK")), _number(told.get("WORLD_SIZE"))
        return Training(p, rank, None if rank is None else world_size, self._launcher(p))

    def _launcher(self, p: ProcessFacts) -> int | None:
        above = self._by_pid.get(p.parent)
        while above is not None and not _launches(above):
            above = self._by_pid.get(above.parent)
        return None if above is None else above.pid


def one_job(trainings: Sequence[Training]) -> bool:
    """Whether these are the ranks of one launcher, or there is one at most."""
    alone = len(trainings) < 2
    return alone or (len({t.launcher for t in trainings}) == 1 and all(t.rank is not None for t in trainings))


def _has(p: ProcessFacts, marks: Sequence[str]) -> bool:
    return any(mark in word for word in p.command for mark in marks)


def _launches(p: ProcessFacts) -> bool:
    return any(Path(word).name in _LAUNCHERS for word in p.command[:_LAUNCHER_WORDS])


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() else None
