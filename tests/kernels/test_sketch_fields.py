"""What a row says about a tensor, on every implementation."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.kernels.sketch_cases import (
    DTYPES,
    SIZES,
    Exported,
    exported,
    family,
    moment_bounds,
    normal,
    seeded,
    sprinkled,
    subnormal,
)
from tuimon_kernels import DType, Slot, dense, slot_for
from tuimon_kernels.backend import Backend
from tuimon_kernels.spec import BLOCK, COUNTS, LOOKED, MOMENTS, PIECE, STRETCH, sample_period, sampled


def sketch(backend: Backend, *tensors: torch.Tensor, observation: int = 1) -> Exported:
    """Return the sketch of tensors that all go to slot 0."""
    slot = slot_for(tensors[0])
    assert slot is not None
    table = backend.SketchTable([slot])
    table.accumulate([0] * len(tensors), tensors, observation)
    return exported(table)


def bins(packed: Exported, row: int = 0) -> dict[tuple[bool, int], int]:
    """Return {(negative, exponent): count} of a row, without the empty bins."""
    start = 2 * int(packed.hist_width[:row].sum())
    width = int(packed.hist_width[row])
    counts = packed.hist_counts[start : start + 2 * width].reshape(2, width)
    return {
        (sign == 0, int(packed.hist_first[row]) + i): int(counts[sign, i])
        for sign, i in np.argwhere(counts).tolist()
    }


def exponents(values: np.ndarray) -> dict[tuple[bool, int], int]:
    """Return {(negative, floor(log2|x|)): count} of the finite non-zero values, fp64."""
    values = values[np.isfinite(values) & (values != 0)]
    keys = np.stack((values < 0, np.frexp(values)[1] - 1))
    kinds, counts = np.unique(keys, axis=1, return_counts=True)
    return {(bool(sign), int(e)): int(c) for (sign, e), c in zip(kinds.T, counts, strict=True)}


def looked_at(x: torch.Tensor, observation: int, slot: int = 0) -> np.ndarray:
    """Return the elements that enter the histogram, fp64."""
    values = x.double().numpy()
    pieces = range(math.ceil(len(x) / PIECE))
    chosen = [values[p * PIECE : (p + 1) * PIECE] for p in pieces if sampled(p, slot, observation, len(x))]
    return np.concatenate([values[:0], *chosen])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("kind", family(8, torch.float32))
def test_every_field(backend: Backend, kind: str, n: int, dtype: torch.dtype) -> None:
    x = family(n, dtype)[kind]
    before = x.view(torch.uint8).clone()
    packed = sketch(backend, x, observation=3)
    assert torch.equal(x.view(torch.uint8), before), "the input was written to"
    count = dict(zip(COUNTS, packed.counts[0].tolist(), strict=True))
    moment = dict(zip(MOMENTS, packed.moments[0].tolist(), strict=True))
    values = x.double().numpy()
    assert count == {
        "n": n,
        "nan": int(np.isnan(values).sum()),
        "pos_inf": int((values == math.inf).sum()),
        "neg_inf": int((values == -math.inf).sum()),
        "zero": int((values == 0).sum()),
        "limit": 0,
    }
    finite = values[np.isfinite(values)]
    assert moment["min"] == finite.min(initial=math.inf)
    assert moment["max"] == finite.max(initial=-math.inf)
    sum_bound, square_bound = moment_bounds(x)
    if math.isfinite(sum_bound):
        assert abs(moment["sum"] - math.fsum(finite)) <= sum_bound
    if math.isfinite(square_bound):
        assert abs(moment["sum_sq"] - math.fsum(finite * finite)) <= square_bound
    else:  # squares beyond fp64
        assert moment["sum_sq"] == math.inf
    seen = looked_at(x, 3)
    assert packed.hist_n[0] == len(seen) > 0
    assert packed.hist_zero[0] == (seen == 0).sum()
    assert bins(packed) == exponents(seen)
    assert len(packed.hist_counts) == 2 * packed.hist_width[0]
    used = [e for _, e in bins(packed)]
    assert (packed.hist_first[0], packed.hist_width[0]) == (
        (min(used), max(used) - min(used) + 1) if used else (0, 0)
    )
    non_finite = len(seen) - np.isfinite(seen).sum()
    assert packed.hist_n[0] == packed.hist_zero[0] + packed.hist_counts.sum() + non_finite


def test_the_squares_of_common_noise_are_better_than_the_bound(backend: Backend) -> None:
    # Vector lanes make short chains, and roundings of noise add up as the root of their number.
    x = normal(1 << 20, torch.float32)
    exact = math.fsum((x.double() ** 2).tolist())
    assert sketch(backend, x).moments[0, 1] == pytest.approx(exact, rel=16 * 2.0**-24)


@pytest.mark.parametrize("shape", [(0,), (0, 4), ()])
def test_empty_and_scalar(backend: Backend, shape: tuple[int, ...]) -> None:
    x = torch.full(shape, -3.0)
    packed = sketch(backend, x)
    n = x.numel()
    assert packed.counts[0].tolist() == [n, 0, 0, 0, 0, 0]
    assert packed.moments[0].tolist() == ([-3.0, 9.0, -3.0, -3.0] if n else [0.0, 0.0, math.inf, -math.inf])
    assert bins(packed) == ({(True, 1): 1} if n else {})


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_any_dense_memory_is_read_in_place(backend: Backend, dtype: torch.dtype) -> None:
    base = sprinkled(6 * 5 * 4 * 3 + 1, dtype, math.nan, 0.0)
    misaligned = base[1:].view(6, 5, 4, 3)
    plain = sketch(backend, misaligned.clone())
    for x in (
        misaligned,
        misaligned.contiguous(memory_format=torch.channels_last),
        misaligned.transpose(0, 2),
        misaligned.permute(3, 1, 0, 2),
        torch.nn.Parameter(misaligned),
    ):
        assert dense(x)
        packed = sketch(backend, x)
        assert packed.counts.tolist() == plain.counts.tolist()
        assert bins(packed) == bins(plain)
        bound = moment_bounds(misaligned.reshape(-1))
        assert np.abs(packed.moments - plain.moments)[0, :2] == pytest.approx(0.0, abs=2 * max(bound))


def test_bytes_at_an_odd_address(backend: Backend) -> None:
    raw = bytearray(1 + 4 * 100)
    x = torch.frombuffer(raw, dtype=torch.float32, offset=1)
    x.copy_(normal(100, torch.float32))
    assert bins(sketch(backend, x)) == bins(sketch(backend, x.clone()))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("n", [2, 1001, 2 * LOOKED - 1])
def test_merging_is_adding(backend: Backend, n: int, dtype: torch.dtype) -> None:
    for kind, x in family(n, dtype).items():
        whole, halves = sketch(backend, x), sketch(backend, x[: n // 3], x[n // 3 :])
        assert whole.counts.tolist() == halves.counts.tolist(), kind
        assert whole.moments[0, 2:].tolist() == halves.moments[0, 2:].tolist(), kind
        for at, bound in enumerate(moment_bounds(x)):
            if math.isfinite(bound):
                assert abs(whole.moments[0, at] - halves.moments[0, at]) <= 2 * bound, kind
        assert (whole.hist_n, whole.hist_zero) == (halves.hist_n, halves.hist_zero)
        assert bins(whole) == bins(halves), kind


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    values=st.lists(st.floats(width=32), max_size=50),
    cuts=st.lists(st.integers(0, 50), max_size=4),
    order=st.randoms(use_true_random=False),
)
def test_merging_is_associative_and_commutative(
    backend: Backend, values: list[float], cuts: list[int], order: object
) -> None:
    x = torch.tensor(values, dtype=torch.float32)
    edges = [0, *sorted(min(cut, len(x)) for cut in cuts), len(x)]
    parts = [x[a:b] for a, b in itertools.pairwise(edges)]
    order.shuffle(parts)  # type: ignore[attr-defined]
    whole, pieces = sketch(backend, x), sketch(backend, *parts)
    assert whole.counts.tolist() == pieces.counts.tolist()
    assert whole.moments[0, 2:].tolist() == pieces.moments[0, 2:].tolist()
    assert bins(whole) == bins(pieces)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_limits_count_what_is_at_or_beyond_them(backend: Backend, dtype: torch.dtype) -> None:
    x = torch.rand(3 * BLOCK + 5, generator=seeded()).to(dtype)
    x[::7], x[1::7], x[2::7], x[3::7] = 0.0, 1.0, math.nan, math.inf
    # 0.1 and 0.9 are no fp32 numbers: the comparison must not round them towards the elements.
    x[4::7], x[5::7] = 0.1, 0.9
    values = x.double()
    near = float(torch.tensor(0.9, dtype=dtype))
    for low, high in ((0.0, 1.0), (0.1, 0.9), (-math.inf, near), (0.1, math.inf), (-1e300, 1e300)):
        table = backend.SketchTable([Slot(len(x), DType.of(dtype), limits=(low, high))])
        table.accumulate([0], [x], 1)
        assert exported(table).counts[0, 5] == int(((values <= low) | (values >= high)).sum())


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("n", [19 * PIECE + 100, STRETCH + 100, 2 * STRETCH + 3 * PIECE])
def test_pieces_take_turns_until_all_were_looked_at(backend: Backend, n: int, dtype: torch.dtype) -> None:
    pieces = n // PIECE
    # Magnitudes of 75 octaves at most, which every type but fp16 has; that one is told apart by 16 of them.
    x = (2.0 ** -(torch.arange(n) // PIECE % (75 if dtype is not torch.float16 else 16)).double()).to(dtype)
    table = backend.SketchTable([Slot(n, DType.of(dtype))] * 2)
    looked = 0
    for observation in range(1, 9):
        table.clear()
        table.accumulate([0, 1], [x, x], observation)
        packed = exported(table)
        values = looked_at(x, observation)
        assert bins(packed) == exponents(values)
        assert bins(packed, 1) != bins(packed), "two slots are not in step"
        looked += int(packed.hist_n[0])
    assert sample_period(n) == 8
    assert pieces >= 8
    assert looked == n, "each element once in eight turns"


def test_rows_are_separate_cleared_and_packed_in_the_order_asked_for(backend: Backend) -> None:
    dtypes = (DType.FLOAT32, DType.FLOAT64, DType.BFLOAT16, DType.FLOAT32)
    tensors = [normal(50 + i, t, i) for i, t in enumerate((*DTYPES[1:2], *DTYPES[:1], DTYPES[3], DTYPES[1]))]
    table = backend.SketchTable([Slot(50, dtype) for dtype in dtypes])
    empty = exported(table)
    assert empty.counts.tolist() == [[0] * 6] * 4
    assert empty.hist_width.tolist() == [0] * 4
    assert len(empty.hist_counts) == 0
    table.accumulate([3, 1], [tensors[3], tensors[1]], 1)
    table.accumulate([0, 2], [tensors[0], tensors[2]], 1)
    packed = exported(table, [2, 0, 2])
    assert packed.counts[:, 0].tolist() == [52, 50, 52]
    assert bins(packed, 0) == bins(packed, 2) == exponents(tensors[2].double().numpy())
    assert bins(packed, 1) == exponents(tensors[0].double().numpy())
    assert bins(exported(table), 1) == exponents(tensors[1].double().numpy())
    kept = bins(packed, 0)
    table.clear()
    assert bins(packed, 0) == kept, "a packed sketch is a copy"
    again = exported(table)
    assert again.moments.tolist() == empty.moments.tolist()
    assert again.hist_width.tolist() == [0] * 4
    table.accumulate([2], [tensors[2]], 2)
    assert bins(exported(table), 2) == kept
    assert exported(table, []).counts.shape == (0, 6)


def test_a_table_without_slots(backend: Backend) -> None:
    table = backend.SketchTable([])
    table.accumulate([], [], 1)
    table.clear()
    assert exported(table).counts.shape == (0, 6)
    assert table.silent(1).tolist() == []


def test_a_released_storage_adds_nothing(backend: Backend) -> None:
    x = torch.ones(64)
    x.untyped_storage().resize_(0)
    assert sketch(backend, x).counts[0].tolist() == [0] * 6
    assert backend.sum_squares([x]).tolist() == [0.0]


def test_subnormals_survive_a_process_that_flushes_them(backend: Backend) -> None:
    if backend.name == "torch":
        pytest.skip("the reference computes in the process's own arithmetic")
    cases = [subnormal(dtype, 500) for dtype in DTYPES]
    expected = [exponents(x.double().numpy()) for x in cases]
    assert torch.set_flush_denormal(True)
    try:
        found = [bins(sketch(backend, x)) for x in cases]
    finally:
        torch.set_flush_denormal(False)
    assert found == expected


def test_refused_calls_say_why_and_change_nothing(backend: Backend) -> None:
    x = torch.ones(4)
    table = backend.SketchTable([Slot(4, DType.FLOAT32)] * 2)
    with pytest.raises(ValueError, match="from 1, not 0"):
        table.accumulate([0], [x], 0)
    with pytest.raises(ValueError, match="1 slots for 2 tensors"):
        table.accumulate([0], [x, x], 1)
    for bad in (-1, 2):
        with pytest.raises(IndexError, match=f"no slot {bad} in a table of 2"):
            table.accumulate([0, bad, 0], [x, x, x], 1)
        with pytest.raises(IndexError, match=f"no slot {bad} in a table of 2"):
            exported(table, [0, bad])
    sparse = torch.sparse_coo_tensor(torch.tensor([[1]]), torch.ones(1), (4,), check_invariants=True)
    for unfit, why in (
        (x.double(), "float64"),
        (torch.arange(4), "int64"),
        (torch.ones(8)[::2], "one piece"),
        (torch.ones(1).expand(4), "one piece"),
        (x.to("meta"), "meta"),
        (sparse, "piece"),
    ):
        with pytest.raises(ValueError, match=why):
            table.accumulate([0, 1], [x, unfit], 1)
    assert exported(table).counts.sum() == 0


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_sum_squares_of_everything(backend: Backend, dtype: torch.dtype) -> None:
    for n in (0, 1, 1000, BLOCK + 1):
        cases = family(n, dtype) if n else {"empty": torch.empty(0, dtype=dtype)}
        found = backend.sum_squares(list(cases.values()))
        for (kind, x), squares in zip(cases.items(), found.tolist(), strict=True):
            exact = float((x.double() ** 2).sum())
            if math.isfinite(exact):
                assert abs(squares - exact) <= moment_bounds(x)[1], kind
            else:
                assert squares == exact or (math.isnan(squares) and math.isnan(exact)), kind


def test_sum_squares_refuses_integers(backend: Backend) -> None:
    with pytest.raises(ValueError, match="int64"):
        backend.sum_squares([torch.arange(3)])


@pytest.mark.parametrize(("seen", "kind"), [(2**32 - 1, np.uint32), (2**32, np.int64)])
def test_bins_are_wide_where_a_count_could_be(seen: int, kind: type[np.generic]) -> None:
    cpu = pytest.importorskip("tuimon_kernels.cpu")
    table = cpu.SketchTable([Slot(4, DType.FLOAT32)])
    table.accumulate([0], [torch.ones(4)], 1)
    # Stand-ins for what takes seconds to count: the elements looked at, and the bin of exponent 0.
    table._book[0, 6] = seen
    table._bins[table._bins == 4] = seen
    packed = exported(table)
    assert packed.hist_counts.dtype == kind
    assert packed.hist_counts.tolist() == [0, seen]
