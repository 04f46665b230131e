"""What watching costs: ``python -m bench.overhead [--workload NAME ...] [--minutes M] [--write]``.

Each way of watching runs in a process of its own, with two identical trainings in it, one of them watched.
The processes of a workload take turns; in its turn each runs four blocks, bare, watched, watched, bare, and
yields one ratio per pair of neighbours. One thread; judged by the CPU time of the whole process, all its
threads (`cpu`), with wall time beside it (`wall`). A viewer is another process: its own CPU does not count.

`none` compares plain with plain: no ratio means more than the spread of this one. A median of few long
blocks may hide a rare cost, so the ratio of the sums (`total`) stands beside it. What an agent puts around
torch's own functions is taken away while the bare twin steps; `bare` shows that nothing else is left: it
compares the bare steps of that process with those of the process that was never watched, round by round.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import tuimon
from bench.overhead_cell import MODES
from bench.ratios import Block, Summary, pair_ratios, per_step, summary, total_ratio
from bench.workloads import WORKLOADS

RESULTS = Path(__file__).parent / "results"
METRICS = ("cpu", "wall")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the CSV: ratios of watched to bare steps."""

    workload: str
    mode: str
    #: `cpu`, `wall`, or `bare`: CPU of the bare steps over those of a process never watched.
    metric: str
    p20: float
    p50: float
    p80: float
    #: All watched steps over all bare ones.
    total: float | None
    n: int
    #: Median of a bare step by the same clock, milliseconds.
    bare_ms: float
    #: Steps between samples in the end, and the last sample's own statement of its cost, over bare steps.
    every: int | None
    told_ratio: float | None

    def text(self) -> str:
        """The line as printed."""
        spread = f"{self.p50:6.3f} [{self.p20:.3f}-{self.p80:.3f}] n{self.n}"
        total = "" if self.total is None else f"{self.total:.3f}"
        every = "" if self.every is None else f"every {self.every}"
        told = "" if self.told_ratio is None else f"says {1 + self.told_ratio:.3f}"
        head = f"{self.workload:7} {self.mode:14} {self.metric:5}"
        return f"{head} {spread:28} total {total:6} bare {self.bare_ms:7.2f} ms  {every:10} {told}"


@dataclass(slots=True)
class Run:
    """A cell's process, and what it has yielded so far: four blocks a round."""

    name: str
    process: subprocess.Popen[str]
    rounds: list[list[Block]] = field(default_factory=list)

    def turn(self) -> Any:
        """Let it do the next thing; its answer."""
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        return self.answer()

    def answer(self) -> Any:
        """Its next line, SystemExit if it has died instead (its own words stand on standard error)."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name}: the process died")
        return json.loads(line)

    def finish(self) -> dict[str, Any]:
        """End it; what its monitor saw."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        told: dict[str, Any] = self.answer()
        self.process.wait()
        return told

    @property
    def blocks(self) -> list[Block]:
        """All blocks, in the order in which they ran."""
        return [block for four in self.rounds for block in four]


def start(workload: str, mode: str, block_s: float, directory: str) -> Run:
    """Start one cell; it loads its libraries and waits."""
    command = [sys.executable, "-m", "bench.overhead_cell", workload, mode, str(block_s)]
    one_thread = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "XDG_RUNTIME_DIR": directory}
    pipe = subprocess.PIPE
    environment = {**os.environ, **one_thread}
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment)
    return Run(f"{workload} {mode}", process)


def measure(workload: str, modes: list[str], minutes: float, block_s: float) -> list[Line]:
    """Let all modes of one workload take turns until the time is up, one whole round at least."""
    with ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-"))
        runs: dict[str, Run] = {}
        for mode in modes:
            runs[mode] = start(workload, mode, block_s, directory)
            stack.callback(runs[mode].process.kill)
            runs[mode].answer()
        for run in runs.values():
            run.turn()
        until_s = time.monotonic() + 60.0 * minutes
        while not runs[modes[-1]].rounds or time.monotonic() < until_s:
            for run in runs.values():
                run.rounds.append([Block(**block) for block in run.turn()])
        told = {mode: run.finish() for mode, run in runs.items()}
    for mode, words in told.items():
        print(f"# {workload} {mode}: {words}")
    return [line for mode in modes for line in lines(workload, mode, runs, told[mode])]


def lines(workload: str, mode: str, runs: dict[str, Run], told: dict[str, Any]) -> list[Line]:
    """Sum up one mode."""
    blocks = runs[mode].blocks
    measured = [(m, summary(pair_ratios(blocks, m)), total_ratio(blocks, m)) for m in METRICS]
    rows: list[tuple[str, Summary, float | None]] = list(measured)
    if mode != "none" and "none" in runs:
        rows.append(("bare", summary(against(runs[mode], runs["none"])), None))
    every, own_s = told.get("every"), told.get("overhead_s")
    a_bare_s = summary([per_step(block, "wall") for block in blocks if not block.watched]).p20
    told_ratio = None if every is None or own_s is None else own_s / (every * a_bare_s)
    found = []
    for metric, spread, total in rows:
        clock = "wall" if metric == "wall" else "cpu"
        bare_s = summary([per_step(block, clock) for block in blocks if not block.watched]).p50
        numbers = (spread.p20, spread.p50, spread.p80)
        found.append(Line(workload, mode, metric, *numbers, total, spread.n, 1e3 * bare_s, every, told_ratio))
    return found


def against(run: Run, never: Run) -> list[float]:
    """CPU time of the bare steps of `run` over the steps of a process never watched, round by round."""
    ratios = []
    for mine, others in zip(run.rounds, never.rounds, strict=True):
        own = [per_step(block, "cpu") for block in mine if not block.watched]
        plain = [per_step(block, "cpu") for block in others]
        ratios.append((sum(own) / len(own)) / (sum(plain) / len(plain)))
    return ratios


def rounded(line: Line) -> dict[str, object]:
    """The line's fields, four digits of each number."""
    fields = asdict(line)
    return {k: float(f"{v:.4g}") if isinstance(v, float) else v for k, v in fields.items()}


def device() -> dict[str, str]:
    """What the numbers depend on."""
    model = platform.processor()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return {
        "device": "cpu, 1 thread",
        "cpu": model,
        "torch": version("torch"),
        "python": platform.python_version(),
        "tuimon": tuimon.__version__,
    }


def write(measured: list[Line], name: str) -> None:
    """Write the CSV."""
    on = device()
    RESULTS.mkdir(exist_ok=True)
    with (RESULTS / f"{name}.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, [*asdict(measured[0]), *on])
        writer.writeheader()
        writer.writerows({**rounded(line), **on} for line in measured)


def main() -> None:
    """Measure, print, and write the CSV when asked to."""
    parser = argparse.ArgumentParser(description="What watching costs, per workload and way of watching.")
    parser.add_argument("--workload", nargs="+", choices=WORKLOADS, default=list(WORKLOADS))
    parser.add_argument("--mode", nargs="+", choices=MODES, default=list(MODES))
    parser.add_argument("--minutes", type=float, default=3.0, help="for each workload, after warming up")
    parser.add_argument("--block", type=float, default=0.5, help="seconds of one block")
    parser.add_argument(
        "--write", nargs="?", const="overhead-cpu", metavar="NAME", help="write results/NAME.csv"
    )
    options = parser.parse_args()
    print(device())
    for mode in options.mode:
        print(f"# {mode}: {MODES[mode].about}")
    measured = []
    for workload in options.workload:
        found = measure(workload, options.mode, options.minutes, options.block)
        measured += found
        print("\n".join(line.text() for line in found), flush=True)
    if options.write is not None:
        write(measured, options.write)


if __name__ == "__main__":
    main()
