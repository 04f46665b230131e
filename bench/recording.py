"""What a recording takes: bytes and CPU time of a sample, to write and to read back.

Run from the repository root: ``python -m bench.recording``; the rows go to ``bench/results/recording.csv``.
Samples are those of `bench.synthetic_run`, made beforehand, with the histograms of every tensor.
"""

from __future__ import annotations

import csv
import platform
import sqlite3
import tempfile
import time
from pathlib import Path

from bench.synthetic_run import SyntheticRun
from tuimon.recording.reader import Recording
from tuimon.recording.writer import Recorder
from tuimon.wire.codec import encode

RESULTS = Path(__file__).parent / "results" / "recording.csv"
#: Blocks of the transformer; 42 make 298 layers.
BLOCKS = (8, 42)
SAMPLES = 200


def measured(blocks: int, folder: Path) -> dict[str, object]:
    """One row of the results."""
    run = SyntheticRun(blocks=blocks)
    samples = [run.sample(index) for index in range(1, SAMPLES + 1)]
    path = folder / f"{blocks}.tuimon"
    recorder = Recorder(path)
    recorder.write(run.hello)
    recorder.write(run.layout)
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    for sample in samples:
        recorder.write(sample)
    recorder.close()
    write_s, write_cpu_s = time.perf_counter() - began_s, time.process_time() - began_cpu_s
    began_cpu_s = time.process_time()
    with Recording(path) as recording:
        read = sum(1 for _ in recording.records(1))
    read_cpu_s = time.process_time() - began_cpu_s
    assert read == SAMPLES + 2
    return {
        "device": device(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "layers": len(run.layout.layers),
        "tensors": len(run.layout.tensors),
        "samples": SAMPLES,
        "sent_bytes": sum(map(len, map(encode, samples))) // SAMPLES,
        "file_bytes": path.stat().st_size // SAMPLES,
        "write_cpu_ms": f"{1e3 * write_cpu_s / SAMPLES:.4g}",
        "write_ms": f"{1e3 * write_s / SAMPLES:.4g}",
        "read_cpu_ms": f"{1e3 * read_cpu_s / SAMPLES:.4g}",
    }


def device() -> str:
    """The processor's name."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def main() -> None:
    """Measure, print and write down."""
    with tempfile.TemporaryDirectory() as folder:
        rows = [measured(blocks, Path(folder)) for blocks in BLOCKS]
    with RESULTS.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    for row in rows:
        print(", ".join(f"{name} {value}" for name, value in row.items()))


if __name__ == "__main__":
    main()
