"""Threads, forks, imports, caches, sizes beyond 32 bits: what a guest in a training process owes it."""

from __future__ import annotations

import gc
import mmap
import multiprocessing
import subprocess
import sys
import threading
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tuimon_kernels
from tests.kernels.sketch_cases import exported, family, normal
from tuimon_kernels import DType, Layout, Slot, spec
from tuimon_kernels.backend import Backend


def sketch(backend: Backend, x: torch.Tensor, observation: int = 1) -> tuple[list[Any], ...]:
    table = backend.SketchTable([Slot(x.numel(), DType.FLOAT32)])
    table.accumulate([0], [x], observation)
    packed = exported(table)
    return packed.counts.tolist(), packed.moments.tolist(), packed.hist_counts.tolist()


def test_the_same_numbers_each_time_and_in_each_thread(backend: Backend) -> None:
    cases = [family(3 * spec.BLOCK, torch.float32)[kind] for kind in ("normal", "everything", "subnormal")]
    alone = [sketch(backend, x) for x in cases]
    found: dict[int, list[object]] = {}
    together = threading.Barrier(4)

    def work(thread: int) -> None:
        together.wait()
        found[thread] = [sketch(backend, x) for _ in range(5) for x in cases]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(found.values()) == [alone * 5] * 4


def _sketch_in_child(backend_name: str, x: torch.Tensor, to_parent: Any) -> None:
    backend = tuimon_kernels.reference.BACKEND if backend_name == "torch" else tuimon_kernels.backend("cpu")
    assert backend is not None
    to_parent.send(sketch(backend, x))


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_sketches_too(backend: Backend) -> None:
    # One block: torch's own threads, which the reference would use for more, do not survive a fork.
    x = normal(1000, torch.float32)
    alone = sketch(backend, x)
    receiver, sender = multiprocessing.Pipe(duplex=False)
    child = multiprocessing.get_context("fork").Process(
        target=_sketch_in_child, args=(backend.name, x, sender)
    )
    child.start()
    assert receiver.poll(60), "the child sent nothing"
    assert receiver.recv() == alone
    child.join()
    assert child.exitcode == 0


def test_no_reference_to_a_tensor_stays_and_no_random_number_is_drawn(backend: Backend) -> None:
    before = torch.get_rng_state()
    x = torch.ones(16)
    gone = weakref.ref(x)
    table = backend.SketchTable([Slot(16, DType.FLOAT32, 4, Layout.ROWS)])
    sample = backend.StridedSample([x])
    sample.take([x])
    table.accumulate([0], [x], 1)
    backend.sum_squares([x])
    del x
    gc.collect()
    assert gone() is None
    assert torch.equal(torch.get_rng_state(), before)


def test_warm_leaves_nothing_to_compile(backend: Backend) -> None:
    backend.warm()
    again = backend.warm()
    assert not again.compiled
    assert again.wall_s >= 0.0


def test_more_than_31_bits_of_elements(backend: Backend) -> None:
    if backend.name == "torch":
        pytest.skip("the reference would need 8 bytes for each of them")
    n = (1 << 31) + 5000
    # Pages never written are one page of zeros: this takes address space, not memory.
    memory = mmap.mmap(
        -1, 2 * n, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0)
    )
    x = torch.frombuffer(memory, dtype=torch.bfloat16)
    x[(1 << 31) + 7] = 2.0
    x[-1] = -3.0
    x[1 << 30] = torch.nan
    table = backend.SketchTable([Slot(n, DType.BFLOAT16, 2, Layout.PLANES, n // 2)])
    # The last full piece, number 2^22 + 8, is looked at when that + slot + observation is a multiple of 8.
    table.accumulate([0], [x], 8)
    packed = exported(table)
    assert packed.counts[0].tolist() == [n, 1, 0, 0, n - 3, 0]
    assert packed.moments[0].tolist() == [-1.0, 13.0, -3.0, 2.0]
    assert packed.hist_n[0] == (n // spec.PIECE // 8 + 1) * spec.PIECE + n % spec.PIECE
    assert (packed.hist_first[0], packed.hist_counts.tolist()) == (1, [1, 1])
    assert table.silent(8).tolist() == [0]


def test_the_choice_of_pieces_is_the_specification_at_any_size() -> None:
    cpu_rows = pytest.importorskip("tuimon_kernels.cpu_rows")
    for n in (0, 1, 511, 1023, 1024, 4096 + 511, 8191, 8192, 8 * 4096, (1 << 31) + 3, (1 << 40) + 4097):
        last = max(n // spec.PIECE - 1, 0)
        for piece in {0, 1, last // 2, max(last - 1, 0), last}:
            for shift in range(9):
                found = cpu_rows.turn(np.int64(piece), np.int64(n), np.int64(shift))
                assert piece <= found
                assert [spec.sampled(p, 0, shift, n) for p in range(piece, min(found, last) + 1)] == [
                    p == found for p in range(piece, min(found, last) + 1)
                ]


def _in_fresh_process(code: str) -> str:
    kernels = str(Path(tuimon_kernels.__file__).parents[1])
    code = f"import sys; sys.path.insert(0, {kernels!r})\n{code}"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stderr == ""
    return run.stdout.strip()


def test_importing_brings_neither_torch_nor_compilers() -> None:
    code = "import tuimon_kernels; print({'torch', 'numba', 'triton', 'numpy'} & set(sys.modules))"
    assert _in_fresh_process(code) == "set()"


def test_without_numba_and_numpy_the_reference_serves() -> None:
    code = (
        # Torch itself says on import when it finds no numpy.
        "import warnings; warnings.simplefilter('ignore')\n"
        "sys.modules['numba'] = sys.modules['numpy'] = None\nimport tuimon_kernels\n"
        "b = tuimon_kernels.backend('cpu'); print(b.name, b.warm().compiled, tuimon_kernels.backend('cuda'))"
    )
    assert _in_fresh_process(code) == "torch False None"


@pytest.mark.parametrize(
    "error", [RuntimeError("no locator"), OSError(28, "No space left on device"), EOFError()]
)
def test_a_cache_that_fails_is_done_without(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    cpu_entries = pytest.importorskip("tuimon_kernels.cpu_entries")

    def fail(signature: object, function: object, nogil: bool) -> None:
        raise error

    monkeypatch.setattr(cpu_entries, "_cached", fail)
    monkeypatch.setattr(cpu_entries, "_uncached", lambda signature, function, nogil: Uncached(function))
    found = cpu_entries.entries.__wrapped__()
    assert found.compiled
    assert found.clear.function.__name__ == "clear"


class Uncached:
    """Stands for a compiled function that came from no cache."""

    def __init__(self, function: Any) -> None:
        self.function = function
        self.stats = type("Stats", (), {"cache_hits": {}})


def test_a_change_in_any_source_file_asks_for_a_new_cache_entry(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cpu_entries = pytest.importorskip("tuimon_kernels.cpu_entries")
    monkeypatch.setattr(cpu_entries, "__file__", str(tmp_path / "cpu_entries.py"))
    (tmp_path / "cpu_block.py").write_text("one")
    first = cpu_entries._digest()
    (tmp_path / "cpu_block.py").write_text("two")
    assert cpu_entries._digest() != first >= 0
