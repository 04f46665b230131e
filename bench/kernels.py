"""The sketch beside what one would write with torch: ``python -m bench.kernels [--write]``.

One thread, CPU time of that thread. The variants of a size take turns, round by round, so that a change of
the machine's mood meets all of them; ratios are taken within a round.

stream    int64 sum of the same bytes: what one core can read
moments   all counts and moments, no histogram, no Python: the compiled block function over the tensor
sketch    `SketchTable.accumulate` with the histogram (1 in 8 pieces of a large tensor), small tensors in
          lists of 1 MB, as a training's are
norm      ``torch.linalg.vector_norm``: yields one number
chain     the torch calls that yield the moments: sum, norm, aminmax, isnan, isinf, count_nonzero
chain+h   the same and the histogram, by bincount of sign and exponent
"""

from __future__ import annotations

import argparse
import csv
import platform
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numba
import numpy as np
import torch

import tuimon_kernels
from tuimon_kernels.cpu_block import add_block, widen
from tuimon_kernels.cpu_jit import carray, exact, lanes, pointer
from tuimon_kernels.spec import BLOCK, STRETCH, DType

if TYPE_CHECKING:
    from collections.abc import Callable

    Variant = Callable[[], object]

SIZES_BYTES = (4 << 10, 32 << 10, 256 << 10, 4 << 20, 64 << 20, 256 << 20)
DTYPES = (torch.float32, torch.bfloat16)
RESULT = Path(__file__).parent / "results" / "kernels-cpu.csv"
_BFLOAT16 = int(DType.BFLOAT16)


@dataclass(frozen=True, slots=True)
class Line:
    """One variant at one size: one line of the CSV."""

    dtype: str
    size_bytes: int
    variant: str
    min_us: float
    rate_gb_s: float
    stream_p20: float
    """Share of the core's read bandwidth, over the rounds."""
    stream_p50: float
    stream_p80: float
    chain_p20: float
    """How many times faster than `chain` (`chain+h` for the sketch, which has the histogram too)."""
    chain_p50: float
    chain_p80: float

    def text(self) -> str:
        """Return the line as printed."""
        shares = f"{self.stream_p20:.2f} {self.stream_p50:.2f} {self.stream_p80:.2f}"
        gains = f"{self.chain_p20:6.1f} {self.chain_p50:6.1f} {self.chain_p80:6.1f}"
        head = f"{self.dtype:8} {self.size_bytes >> 10:7} KB {self.variant:8} {self.min_us:9.1f}"
        return f"{head} {self.rate_gb_s:7.2f}    {shares}          {gains}"


@lanes
def _stream(words: Any) -> Any:
    total = np.int64(0)
    for i in range(words.size):
        total += words[i]
    return total


@exact
def _moments(job: Any, book: Any, moments: Any, buffer: Any) -> None:
    address, n, short = job[0], job[1], job[2]
    step = BLOCK if short else STRETCH
    for start in range(0, n, step):
        m = min(step, n - start)
        at = address + 4 * start
        if short:
            at = np.int64(buffer.ctypes.data)
            widen(
                carray(pointer(address + 2 * start), m, np.int16), _BFLOAT16, carray(pointer(at), m, np.int32)
            )
        add_block(carray(pointer(at), m, np.int32), carray(pointer(at), m, np.float32), book, moments)


def _chain(x: torch.Tensor) -> list[torch.Tensor]:
    return [
        x.sum(),
        torch.linalg.vector_norm(x),
        *torch.aminmax(x),
        x.isnan().sum(),
        x.isinf().sum(),
        torch.count_nonzero(x),
    ]


def _chain_and_histogram(x: torch.Tensor) -> list[torch.Tensor]:
    integers, shift = (torch.int32, 23) if x.dtype is torch.float32 else (torch.int16, 7)
    fields = (x.view(integers) >> shift) & 511
    return [*_chain(x), torch.bincount(fields.flatten(), minlength=512)]


def listed(x: torch.Tensor) -> int:
    """Return how many tensors of this size the sketch gets in one call."""
    return max(1, (1 << 20) // (x.numel() * x.element_size()))


def variants(x: torch.Tensor) -> dict[str, Variant]:
    """Return what is compared on this tensor, by name."""
    backend = tuimon_kernels.backend("cpu")
    slot = tuimon_kernels.slot_for(x)
    assert backend is not None
    assert slot is not None
    table = backend.SketchTable([slot])
    rows, observation = [0] * listed(x), iter(range(1, 1 << 60))
    tensors = [x] * len(rows)
    words = x.view(torch.int64).numpy()
    book, moments = np.zeros(10, dtype=np.int64), np.zeros(4)
    buffer = np.empty(BLOCK, dtype=np.float32)
    job = np.array([x.data_ptr(), x.numel(), x.dtype is not torch.float32])
    return {
        "stream": lambda: _stream(words),
        "moments": lambda: _moments(job, book, moments, buffer),
        "sketch": lambda: table.accumulate(rows, tensors, next(observation)),
        "norm": lambda: torch.linalg.vector_norm(x),
        "chain": lambda: _chain(x),
        "chain+h": lambda: _chain_and_histogram(x),
    }


def measure(x: torch.Tensor, rounds: int) -> dict[str, np.ndarray[Any, np.dtype[np.float64]]]:
    """Return CPU seconds per call, by variant and round."""
    calls = variants(x)
    size_bytes = x.numel() * x.element_size()
    many = max(1, min(200, (1 << 21) // size_bytes))
    found: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for _ in range(rounds):
        for name, call in calls.items():
            repeats = -(-many // listed(x)) if name == "sketch" else many
            start_s = time.thread_time()
            for _ in range(repeats):
                call()
            each = repeats * (listed(x) if name == "sketch" else 1)
            found[name].append((time.thread_time() - start_s) / each)
    return {name: np.array(seconds) for name, seconds in found.items()}


def lines(x: torch.Tensor, rounds: int) -> list[Line]:
    """Measure one tensor."""
    seconds = measure(x, rounds)
    size_bytes = x.numel() * x.element_size()
    found = []
    for name, own in seconds.items():
        chain = seconds["chain+h" if name in ("sketch", "chain+h") else "chain"]
        shares, gains = (np.percentile(other / own, (20, 50, 80)) for other in (seconds["stream"], chain))
        best_s = float(own.min())
        rates = (best_s * 1e6, size_bytes / best_s / 1e9, *shares.tolist(), *gains.tolist())
        rounded = (float(f"{value:.4g}") for value in rates)
        found.append(Line(str(x.dtype).removeprefix("torch."), size_bytes, name, *rounded))
    return found


def lists(rounds: int) -> None:
    """Print what each tensor of a long list costs, Python included."""
    backend = tuimon_kernels.backend("cpu")
    assert backend is not None
    print("\nlists of fp32 tensors, us per tensor (min; p50)")
    for count, n in ((1, 64), (600, 64), (600, 1024), (100, 8192), (100, 65536)):
        tensors = [torch.randn(n) * 0.01 for _ in range(count)]
        table = backend.SketchTable([tuimon_kernels.Slot(n, DType.FLOAT32)] * count)
        rows, each_us = range(count), []
        for observation in range(1, 8 * rounds):
            start_s = time.thread_time()
            table.accumulate(rows, tensors, observation)
            each_us.append((time.thread_time() - start_s) / count * 1e6)
        print(f"{count:4} x {n:6}: {min(each_us):7.3f} {float(np.median(each_us)):7.3f}")


def device() -> dict[str, str]:
    """Return what the numbers depend on."""
    model = platform.processor()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    versions = (platform.python_version(), torch.__version__, numba.__version__, np.__version__)
    return {"device": model, **dict(zip(("python", "torch", "numba", "numpy"), versions, strict=True))}


def main() -> None:
    """Measure, print, and write the CSV when asked to."""
    parser = argparse.ArgumentParser(description="The sketch beside torch, one thread.")
    parser.add_argument("--write", action="store_true", help=f"write results/{RESULT.name}")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    torch.set_num_threads(1)
    backend = tuimon_kernels.backend("cpu")
    assert backend is not None
    on = device()
    print(on, backend.name, backend.warm())
    measured = []
    print(
        "dtype        size    variant       us     GB/s  of stream (p20 p50 p80)  times chain (p20 p50 p80)"
    )
    for dtype in DTYPES:
        for size_bytes in SIZES_BYTES:
            x = (torch.randn(size_bytes // dtype.itemsize) * 0.01).to(dtype)
            x[::17] = 0
            rounds = options.rounds if size_bytes < 64 << 20 else max(3, options.rounds // 5)
            for line in lines(x, rounds):
                measured.append(line)
                print(line.text())
    lists(options.rounds)
    if options.write:
        RESULT.parent.mkdir(exist_ok=True)
        with RESULT.open("w", newline="") as file:
            writer = csv.DictWriter(file, [*on, *asdict(measured[0])])
            writer.writeheader()
            writer.writerows({**on, **asdict(line)} for line in measured)


if __name__ == "__main__":
    main()
