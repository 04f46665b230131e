"""One workload under one monitor, in a process of its own: started by `bench.overhead`, which says when.

Two identical trainings, one watched. Each line "go" on standard input is answered by one line: four timed
blocks, bare, watched, watched, bare. At the end of the input, one last line says what the monitor saw.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import threading
import time
from contextlib import nullcontext, suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch

import tuimon
from bench.handwritten import HandwrittenHooks
from bench.originals import Originals
from bench.ratios import Block
from bench.reader import newest
from bench.workloads import WORKLOADS, seeded
from tuimon.agent import watcher
from tuimon.agent.enter import BUDGET_RATIO, enter
from tuimon.wire.commands import Subscribe, encode_command
from tuimon.wire.paths import process_start_ticks, socket_path
from tuimon.wire.unix import connect_unix
from tuimon_kernels import backend

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.workloads import Training

#: After each block the publisher's thread finishes what that block gave it, at that block's expense.
_DRAIN_S = 0.05
#: The budget is promised from here on: by then the agent has timed itself.
_WARM_STEPS = 50
#: Steps of each twin at the start of a turn that are not timed.
_AGAIN_STEPS = 3


@dataclass(frozen=True, slots=True)
class Mode:
    """A way of watching."""

    about: str
    #: `every` of `tuimon.watch`; None leaves it to the budget.
    every: int | None = None
    #: Whether tuimon watches at all, and whether a second process reads all that it sends.
    tuimon: bool = False
    viewer: bool = False
    #: Whether it is entered, as `tuimon attach` does it, instead of declared by `tuimon.watch`.
    entered: bool = False
    #: Blocks are this much longer: they must hold whole periods of a sparse cadence.
    longer: int = 1


#: Steps between samples of an agent that observes none after its first.
_NEVER = 10**9

MODES = {
    "none": Mode("nothing: plain against plain, the resolution of this bench"),
    "handwritten": Mode("hooks as people write them, every step"),
    "every1": Mode("tuimon.watch(every=1), nobody attached", every=1, tuimon=True),
    "every1+viewer": Mode("the same, and a process that reads it all", every=1, tuimon=True, viewer=True),
    "budget": Mode("tuimon.watch() after 50 steps, nobody attached", tuimon=True, longer=4),
    "entered": Mode("entered from outside, default budget", tuimon=True, entered=True, longer=4),
    "idle": Mode("entered from outside, nothing observed", every=_NEVER, tuimon=True, entered=True),
    "budget+viewer": Mode("the same, and a process that reads it all", tuimon=True, viewer=True, longer=4),
}


class _Entered:
    """An agent that entered this process on a thread of its own."""

    def __init__(self, every: int | None) -> None:
        kernels = backend("cpu")
        if kernels is not None:
            kernels.warm()  # an attacher has them compiled beforehand
        options = {"every": every, "budget": BUDGET_RATIO}
        thread = threading.Thread(target=enter, args=(options,))
        thread.start()
        thread.join()

    def close(self) -> None:
        """Take it out again."""
        here = watcher.current()
        if here is not None:
            here.end("closed")


class Cell:
    """The twins, the monitor on one of them, and the viewer if there is one."""

    def __init__(self, workload: str, mode: Mode) -> None:
        self.mode = mode
        self.bare, self.watched = seeded(workload), seeded(workload)
        self.watched_steps = 0
        #: As the bare twin has it: what the agent puts around torch's own functions is there for all.
        self.originals = Originals()
        self._monitor: tuimon.Monitor | HandwrittenHooks | _Entered | None = None
        self._viewer: subprocess.Popen[str] | None = None
        if mode.entered:
            self._monitor = _Entered(mode.every)
        elif mode.tuimon:
            self._monitor = tuimon.watch(self.watched.model, self.watched.optimizer, every=mode.every)
        elif mode is MODES["handwritten"]:
            self._monitor = HandwrittenHooks(self.watched.model, self.watched.optimizer)

    def warm(self, steps: int = _WARM_STEPS) -> float:
        """Take the first steps, attach the viewer; returns the seconds that a bare step takes."""
        _steps(self.watched, steps)
        self.watched_steps += steps
        if self.mode.viewer:
            self._viewer = _start_viewer()
        many = 10
        with self.originals.back():
            _steps(self.bare, 3)
            start_s = time.perf_counter()
            _steps(self.bare, many)
            return (time.perf_counter() - start_s) / many

    def whole_periods(self, steps: int) -> int:
        """At least so many steps and two periods of the cadence at present, and a multiple of it.

        A block that holds a sample by luck says nothing about a budget.
        """
        if self.mode.every == _NEVER:
            return steps
        every = _ask().get("every", 1) if self.mode.tuimon else 1
        assert isinstance(every, int)
        return every * max(2, -(-steps // every))

    def rounds(self, steps: int) -> Iterator[list[Block]]:
        """ABBA for ever: four blocks of so many steps each, bare, watched, watched, bare."""
        while True:
            # Others had the machine meanwhile: without this the first block, a bare one, pays for it.
            with self.originals.back():
                _steps(self.bare, _AGAIN_STEPS)
            _steps(self.watched, _AGAIN_STEPS)
            self.watched_steps += _AGAIN_STEPS
            yield [self._block(watched, steps) for watched in (False, True, True, False)]

    def close(self) -> dict[str, object]:
        """End the monitor; what it saw."""
        told: dict[str, object] = {"steps": self.watched_steps}
        if self.mode.tuimon and self._viewer is None:
            told |= _ask()
        if self._monitor is not None:
            self._monitor.close()
        if self._viewer is not None:
            out, _ = self._viewer.communicate(timeout=60.0)
            told |= json.loads(out or "{}")
        if self.mode.tuimon:
            check_watched(told, self.mode.every)
        return told

    def _block(self, watched: bool, steps: int) -> Block:
        training = self.watched if watched else self.bare
        gc.collect()
        with nullcontext() if watched else self.originals.back():
            cpu_s, wall_s = time.process_time(), time.perf_counter()
            _steps(training, steps)
            wall_s = time.perf_counter() - wall_s
        time.sleep(_DRAIN_S)
        self.watched_steps += steps * watched
        return Block(watched, steps, time.process_time() - cpu_s, wall_s)


def check_watched(told: dict[str, Any], every: int | None) -> None:
    """Pass if the agent watched to the end: one that gave up costs nothing, and its figures mean nothing.

    Raises:
        SystemExit: it sent no sample, or with a fixed cadence not one for each `every` steps.
    """
    steps, samples = told["steps"], told.get("samples")
    if samples is None or (every is not None and samples < steps // every):
        raise SystemExit(f"the agent did not watch to the end: {samples} samples of {steps} steps")


def _steps(training: Training, steps: int) -> None:
    for _ in range(steps):
        training.step()


def _own_socket() -> Path:
    return socket_path(os.getpid(), process_start_ticks(os.getpid()))


def _start_viewer() -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "bench.reader", str(_own_socket())]
    viewer = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    assert viewer.stdout is not None
    if viewer.stdout.readline() != "reading\n":
        raise SystemExit("the viewer got nothing from the agent")
    return viewer


def _ask() -> dict[str, object]:
    """What the agent of this process says of its newest sample."""
    with suppress(OSError), connect_unix(_own_socket()) as connection:
        connection.sendall(encode_command(Subscribe(history=False)))
        return newest(connection)
    return {}


def main() -> None:
    """Warm up, then answer each line of standard input."""
    workload, name, block_s = sys.argv[1:]
    if workload not in WORKLOADS or name not in MODES:
        raise SystemExit(f"no workload {workload!r} or no mode {name!r}")
    torch.set_num_threads(1)
    mode = MODES[name]
    cell = Cell(workload, mode)
    print(json.dumps("loaded"), flush=True)
    sys.stdin.readline()
    step_s = cell.warm()
    rounds = cell.rounds(cell.whole_periods(max(2, round(mode.longer * float(block_s) / step_s))))
    print(json.dumps({"step_s": step_s}), flush=True)
    for _ in sys.stdin:
        print(json.dumps([asdict(block) for block in next(rounds)]), flush=True)
    print(json.dumps(cell.close()), flush=True)


if __name__ == "__main__":
    main()
