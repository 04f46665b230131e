"""How long a training stands still when it is entered: ``python -m bench.attach_pause [--n N] [--write]``.

A fresh training each time (an MLP, one thread), entered once by gdb. Reported are the longest gaps between
two of its steps: `stop`, from the beginning until the agent's socket answers, in which gdb holds the process;
`load`, from then until two seconds after the first observed step, in which the agent's modules and kernels
are loaded beside the training and its models are found; and `undisturbed`, two seconds before all that. The
loss of every step is compared with that of a training which nobody entered.
"""

from __future__ import annotations

import argparse
import csv
import os
import platform
import queue
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import torch

from bench.soak import PATIENCE_S, gap, records, target, untouched
from tuimon.attach.discovery import attach_or_enter
from tuimon.attach.events import Connected, Ended, Event
from tuimon.records.sample import Sample
from tuimon.version import __version__

RESULT = Path(__file__).parent / "results" / "attach-pause-cpu.csv"
METHOD = "gdb"
_SETTLED_S = 2.0


@dataclass(frozen=True, slots=True)
class Line:
    """One span of one way in: one line of the CSV."""

    method: str
    kernels: str
    span: str
    n: int
    p20_ms: float
    p50_ms: float
    p80_ms: float
    max_ms: float
    entering_p50_s: float
    device: str
    cpus: int
    load_1min: float
    python: str
    torch: str
    tuimon: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One training, entered once: the longest gaps, and the time until the socket answered, seconds."""

    undisturbed: float
    stop: float
    load: float
    entering_s: float
    #: Of every step.
    losses: tuple[float, ...]


def enter_once(folder: Path, options: dict[str, object]) -> Entry:
    """Start a training, enter it, look at its first steps."""
    log = folder / "busy.log"
    events: queue.Queue[tuple[float, Event]] = queue.Queue()
    with target("busy", log) as process:
        time.sleep(3.0)
        began_s = time.perf_counter()
        source = attach_or_enter(process.pid, lambda e: events.put((time.perf_counter(), e)), options)
        source.start()
        connected_s = _until(events, Connected)
        seen_s = _until(events, Sample)
        time.sleep(_SETTLED_S)
        source.stop()
    steps = records(log)
    return Entry(
        # Not the first steps, in which a training is about to find its pace.
        gap(steps, began_s - 2.0, began_s),
        gap(steps, began_s, connected_s),
        gap(steps, connected_s, seen_s + _SETTLED_S),
        connected_s - began_s,
        tuple(loss for _, loss in steps),
    )


def check_losses(entries: Sequence[Entry], folder: Path) -> None:
    """Pass if no training noticed.

    Raises:
        RuntimeError: one did.
    """
    longest = max(len(entry.losses) for entry in entries)
    expected = tuple(untouched("busy", longest, folder / "untouched.log"))
    if not all(entry.losses == expected[: len(entry.losses)] for entry in entries):
        raise RuntimeError("a training that was entered took another way")


def _until(events: queue.Queue[tuple[float, Event]], kind: type[Event]) -> float:
    while True:
        at_s, event = events.get(timeout=PATIENCE_S)
        if isinstance(event, kind):
            return at_s
        if isinstance(event, Ended):
            raise RuntimeError(event.reason)


def lines(kernels: str, entries: Sequence[Entry]) -> list[Line]:
    """The lines of one way in."""
    found = []
    for span in ("undisturbed", "stop", "load"):
        gaps = sorted(1e3 * getattr(entry, span) for entry in entries)
        cuts = statistics.quantiles(gaps, n=10, method="inclusive")
        line = Line(
            method=METHOD,
            kernels=kernels,
            span=span,
            n=len(gaps),
            p20_ms=round(cuts[1], 1),
            p50_ms=round(cuts[4], 1),
            p80_ms=round(cuts[7], 1),
            max_ms=round(gaps[-1], 1),
            entering_p50_s=round(statistics.median(entry.entering_s for entry in entries), 3),
            device=_processor(),
            cpus=os.cpu_count() or 0,
            load_1min=round(os.getloadavg()[0], 1),
            python=platform.python_version(),
            torch=str(torch.__version__),
            tuimon=__version__,
        )
        found.append(line)
    return found


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return " ".join(line.partition(":")[2].split()[:2])
    return platform.machine()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--n", type=int, default=20)
    parser.add_argument("--write", action="store_true", help=f"write {RESULT.name}")
    asked = parser.parse_args()
    told: list[Line] = []
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_RUNTIME_DIR"] = folder
        enter_once(Path(folder), {})  # kernels that are not compiled yet are compiled here
        for kernels, options in (("numba", {}), ("torch", {"kernels": None})):
            entries = [enter_once(Path(folder), dict(options)) for _ in range(asked.n)]
            check_losses(entries, Path(folder))
            told += lines(kernels, entries)
            for line in told[-3:]:
                print(line, file=sys.stdout, flush=True)
    if asked.write:
        with RESULT.open("w", newline="") as file:
            writer = csv.DictWriter(file, [field.name for field in fields(Line)])
            writer.writeheader()
            writer.writerows(asdict(line) for line in told)


if __name__ == "__main__":
    main()
