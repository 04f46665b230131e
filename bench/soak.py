"""Attach, look, detach, over and over: ``python -m bench.soak [--cycles N] [--write]``.

One training of each kind (`soak_target.KINDS`) that has never heard of tuimon. A cycle enters it, waits for
the first observed step, has the agent leave and waits until it is gone. Reported for each kind: how many
cycles succeeded; at how many steps the loss was compared with that of a run which nobody entered, and
whether it was equal each time; the growth of the target's memory; the largest gap between two steps from
the beginning of a cycle to its end, beside the largest one before all of them.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import os
import queue
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from bench.soak_target import KINDS, RECORD
from tuimon.attach.discovery import attach_or_enter
from tuimon.attach.events import Ended, Event
from tuimon.records.sample import Sample
from tuimon.wire.commands import Detach

RESULT = Path(__file__).parent / "results" / "soak-cpu.csv"
TARGET = Path(__file__).with_name("soak_target.py")
#: A guard against hanging, no measurement.
PATIENCE_S = 120.0


@dataclass(frozen=True, slots=True)
class Line:
    """One kind of target: one line of the CSV."""

    kind: str
    cycles: int
    succeeded: int
    steps: int
    losses_equal: bool
    #: Growth of anonymous memory a cycle, garbage collected, over all but the first quarter of the cycles.
    growth_kb: float
    gap_before_ms: float
    gap_p50_ms: float
    gap_max_ms: float
    cycle_p50_s: float
    python: str
    torch: str
    failures: str


@contextmanager
def target(kind: str, log: Path) -> Iterator[subprocess.Popen[str]]:
    """A running training of that kind, which ends at the end of the block."""
    command = [sys.executable, str(TARGET), kind, str(log)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdin is not None
        if process.stdout.readline() != "training\n":
            raise RuntimeError(process.communicate()[1])
        yield process
        process.stdin.close()
        process.wait(PATIENCE_S)
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()


def cycle(pid: int, **options: object) -> None:
    """Enter, look at one observed step, have the agent leave.

    Raises:
        AttachError: it cannot be entered.
        RuntimeError: it did not come to that.
    """
    events: queue.Queue[Event] = queue.Queue()
    source = attach_or_enter(pid, events.put, {"kernels": None, **options})
    source.start()
    try:
        _until(events, Sample)
        source.send(Detach())
        _until(events, Ended)
    finally:
        source.stop()


def _until(events: queue.Queue[Event], kind: type[Event]) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while True:
        try:
            event = events.get(timeout=max(0.0, deadline_s - time.monotonic()))
        except queue.Empty:
            raise RuntimeError(f"no {kind.__name__} within {PATIENCE_S:g} s") from None
        if isinstance(event, kind):
            return
        if isinstance(event, Ended):
            raise RuntimeError(event.reason)


def records(log: Path) -> list[tuple[float, float]]:
    """Time and loss of each step."""
    text = log.read_bytes()
    return list(RECORD.iter_unpack(text[: len(text) // RECORD.size * RECORD.size]))


def untouched(kind: str, steps: int, log: Path) -> list[float]:
    """The losses of a run that nobody entered."""
    command = [sys.executable, str(TARGET), kind, str(log), "--steps", str(steps), "--fast"]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    return [loss for _, loss in records(log)]


def collected_kb(pid: int, log: Path) -> float:
    """Memory of the process that is backed by no file, without its garbage."""
    os.kill(pid, signal.SIGUSR2)
    before = log.stat().st_size
    # The collection is over when the step after it is.
    while log.stat().st_size < before + 2 * RECORD.size:
        time.sleep(0.01)
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return float(line.split()[1])
    raise RuntimeError(f"process {pid} does not tell its memory")


def soak(kind: str, cycles: int, folder: Path) -> Line:
    """Many cycles on one target."""
    log = folder / f"{kind}.log"
    spans: list[tuple[float, float]] = []
    memory: list[float] = []
    failures: list[str] = []
    with target(kind, log) as process:
        time.sleep(1.0)  # a stretch of undisturbed steps to compare with
        for _ in range(cycles):
            began_s = time.perf_counter()
            try:
                cycle(process.pid)
            except Exception as error:
                failures.append(f"{type(error).__name__}: {error}")
            spans.append((began_s, time.perf_counter()))
            if len(spans) in (cycles // 4, cycles):
                memory.append(collected_kb(process.pid, log))
    steps = records(log)
    losses = [loss for _, loss in steps]
    equal = losses == untouched(kind, len(losses), folder / f"{kind}-untouched.log")
    import torch

    gaps = [gap(steps, begin, end) for begin, end in spans]
    return Line(
        kind=kind,
        cycles=cycles,
        succeeded=cycles - len(failures),
        steps=len(losses),
        losses_equal=equal,
        growth_kb=round((memory[-1] - memory[0]) / (cycles - cycles // 4), 2),
        gap_before_ms=round(1e3 * gap(steps, steps[0][0], spans[0][0]), 1),
        gap_p50_ms=round(1e3 * statistics.median(gaps), 1),
        gap_max_ms=round(1e3 * max(gaps), 1),
        cycle_p50_s=round(statistics.median(end - begin for begin, end in spans), 3),
        python=".".join(map(str, sys.version_info[:3])),
        torch=str(torch.__version__),
        failures=" | ".join(dict.fromkeys(failures)),
    )


def gap(steps: list[tuple[float, float]], begin: float, end: float) -> float:
    """The longest time between two steps of which at least a part lies between `begin` and `end`."""
    times = itertools.pairwise(at for at, _ in steps)
    return max((b - a for a, b in times if b >= begin and a <= end), default=0.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--cycles", type=int, default=200, help="over all kinds")
    parser.add_argument("--kind", choices=KINDS, action="append")
    parser.add_argument("--write", action="store_true", help=f"write {RESULT.name}")
    asked = parser.parse_args()
    kinds = asked.kind or KINDS
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_RUNTIME_DIR"] = folder
        lines = []
        for kind in kinds:
            lines.append(soak(kind, asked.cycles // len(kinds), Path(folder)))
            print(lines[-1], flush=True)
    if asked.write:
        with RESULT.open("w", newline="") as file:
            writer = csv.DictWriter(file, [field.name for field in fields(Line)])
            writer.writeheader()
            writer.writerows(asdict(line) for line in lines)


if __name__ == "__main__":
    main()
