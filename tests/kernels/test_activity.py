"""Which channels are active, against brute force, in all layouts; the geometry that finds the channels."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kernels.sketch_cases import DTYPES, exported, negative_nan, normal
from tuimon_kernels import Activity, DType, Layout, Slot, dense, slot_for
from tuimon_kernels.backend import Backend

SHAPES = {
    "rows": ((37, 48), 1),
    "few rows of many channels": ((5, 1000), -1),
    "tokens": ((4, 9, 33), 2),
    "planes": ((3, 20, 7, 7), 1),
    "large planes": ((2, 6, 40, 41), 1),
    "sequence": ((2, 10, 600), 1),
    "one channel": ((4, 1, 5, 5), 1),
    "a column": ((9, 1), 1),
    "channel first": ((12, 3, 3), 0),
}


def channels_of(x: torch.Tensor, axis: int, active: Activity) -> list[bool]:
    """Return which channels are active, by brute force."""
    values = x.double().movedim(axis, 0).flatten(1)
    hit = ~(values <= 0) if active is Activity.POSITIVE else values != 0
    found: list[bool] = hit.any(1).tolist()
    return found


def with_silent_channels(shape: tuple[int, ...], axis: int, dtype: torch.dtype) -> torch.Tensor:
    """Return noise in which channels are negative, zero, barely active, NaN, or infinite in turn."""
    x = normal(math.prod(shape), dtype).view(shape)
    planes = x.movedim(axis, 0)
    tiny = torch.finfo(dtype).smallest_normal
    for channel, plane in enumerate(planes):
        silent = (-plane.abs() - tiny, torch.full_like(plane, -0.0), torch.full_like(plane, -math.inf))
        kind = channel % 11
        if kind < 9:
            plane.copy_(silent[kind % 3])
        at = tuple(size - 1 for size in plane.shape)
        if 3 <= kind < 9:
            plane[at] = (tiny, math.nan, negative_nan(dtype), math.inf, -tiny, 0.0)[kind - 3]
    return x


@pytest.mark.parametrize("active", Activity)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kind", SHAPES)
def test_active_channels(backend: Backend, kind: str, dtype: torch.dtype, active: Activity) -> None:
    shape, axis = SHAPES[kind]
    x = with_silent_channels(shape, axis, dtype)
    layouts = [x]
    if x.dim() == 4:
        layouts.append(x.contiguous(memory_format=torch.channels_last))
    if x.dim() > 1:
        layouts.append(x.transpose(0, 1).contiguous().transpose(0, 1))
    for y in layouts:
        slot = slot_for(y, channel_axis=axis, active=active)
        assert slot is not None
        table = backend.SketchTable([slot])
        table.accumulate([0], [y], 5)
        expected = channels_of(y, axis, active)
        assert table.silent(6).tolist() == [len(expected)]
        assert table.silent(5).tolist() == [expected.count(False)]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_last_silent_channel_is_searched_to_its_end(backend: Backend, dtype: torch.dtype) -> None:
    # All others are active at once, so that implementations may turn to this channel alone.
    slot = Slot(40 * 64, DType.of(dtype), 64, Layout.ROWS)  # type: ignore[arg-type]
    for channel in (0, 5, 63):
        for row in (0, 7, 8, 9, 39, None):
            x = torch.ones(40, 64, dtype=dtype)
            x[:, channel] = -1.0
            if row is not None:
                x[row, channel] = 1.0
            table = backend.SketchTable([slot])
            table.accumulate([0], [x], 1)
            assert table.silent(1).tolist() == [int(row is None)], (channel, row)


@pytest.mark.parametrize("layout", [Layout.ROWS, Layout.PLANES])
def test_every_active_channel_is_marked_with_its_last_observation(backend: Backend, layout: Layout) -> None:
    inner = 1 if layout is Layout.ROWS else 3
    slot = Slot(8 * inner, DType.FLOAT32, 4, layout, inner)
    table = backend.SketchTable([slot, Slot(3, DType.FLOAT32)])
    assert table.silent(1).tolist() == [4, 0]
    first = torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, -1.0]])
    second = torch.tensor([[0.0, 2.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    first, second = (x.repeat_interleave(inner, 1) for x in (first, second))
    table.accumulate([0], [first], 1)
    table.accumulate([0], [second], 2)
    table.clear()
    assert [table.silent(since)[0] for since in (0, 1, 2, 3)] == [0, 2, 3, 4]
    table.accumulate([0, 0], [second, first], 7)
    assert [table.silent(since)[0] for since in (7, 8)] == [2, 4]


def test_a_smaller_batch_has_the_same_channels(backend: Backend) -> None:
    x = torch.ones(6, 5)
    slot = slot_for(x, channel_axis=1)
    assert slot is not None
    table = backend.SketchTable([slot])
    table.accumulate([0], [x[:1]], 1)
    assert table.silent(1).tolist() == [0]
    assert exported(table).counts[0, 0] == 5


@settings(max_examples=200, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    order=st.permutations(range(4)),
    axis=st.integers(0, 3),
)
def test_the_slot_of_any_dense_tensor_finds_its_channels(
    sizes: list[int], order: list[int], axis: int
) -> None:
    order = [i for i in order if i < len(sizes)]
    axis %= len(sizes)
    memory = torch.arange(math.prod(sizes)).view([sizes[i] for i in order]).float()
    x = memory.permute([order.index(i) for i in range(len(sizes))])
    assert list(x.shape) == sizes
    slot = slot_for(x, channel_axis=axis)
    assert slot is not None
    assert slot.channels == sizes[axis]
    where = np.arange(x.numel()) // slot.inner % slot.channels
    channel = torch.empty_like(x)
    for i in range(sizes[axis]):
        channel.select(axis, i).fill_(i)
    flat = torch.as_strided(channel, (x.numel(),), (1,))
    assert flat.tolist() == where.tolist()


def test_memory_with_gaps_or_overlaps_is_not_dense() -> None:
    x = torch.zeros(6, 8)
    assert all(dense(y) for y in (x, x.t(), x[2:], x[:0], x[0], x[:, :1][:1], torch.zeros(())))
    assert not any(dense(y) for y in (x[:, ::2], x[:, :4], x[0, :1].expand(5), x[:, 0]))
    assert not dense(x.to_sparse())
    assert slot_for(x[:, ::2]) is None
    assert slot_for(torch.arange(3)) is None


def test_a_slot_knows_what_it_was_asked_for() -> None:
    x = torch.zeros(2, 3, 4, 5)
    planes, last = slot_for(x, channel_axis=1, limits=(0.0, 1.0)), slot_for(x, channel_axis=-1)
    assert planes == Slot(120, DType.FLOAT32, 3, Layout.PLANES, 20, Activity.POSITIVE, (0.0, 1.0))
    assert last == Slot(120, DType.FLOAT32, 5, Layout.ROWS)
    assert slot_for(x.to(memory_format=torch.channels_last), channel_axis=1) == Slot(
        120, DType.FLOAT32, 3, Layout.ROWS
    )
    with pytest.raises(IndexError, match="no axis 4 in a tensor of 4 axes"):
        slot_for(x, channel_axis=4)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"n": -1}, "n >= 0"),
        ({"channels": 3}, "channels go with"),
        ({"layout": Layout.ROWS}, "channels go with"),
        ({"layout": Layout.ROWS, "channels": 2, "inner": 2}, "inner is 1"),
        ({"limits": (1.0, 1.0)}, "lo < hi"),
        ({"limits": (math.nan, 1.0)}, "lo < hi"),
    ],
)
def test_impossible_slots_are_refused(wrong: dict[str, object], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Slot(**{"n": 4, "dtype": DType.FLOAT32, **wrong})  # type: ignore[arg-type]


def test_dtypes_by_name() -> None:
    expected = [DType.FLOAT64, DType.FLOAT32, DType.FLOAT16, DType.BFLOAT16]
    assert [DType.of(dtype) for dtype in DTYPES] == expected
    assert [dtype.itemsize_bytes for dtype in expected] == [dtype.itemsize for dtype in DTYPES]
    assert DType.of(np.dtype("float32")) is DType.FLOAT32
    assert DType.of(torch.int64) is None


def test_in_a_pair_only_channels_silent_in_both_count(backend: Backend) -> None:
    rows = Slot(6, DType.FLOAT32, 3, Layout.ROWS)
    slots = [rows, Slot(4, DType.FLOAT32), rows]
    table, paired = backend.SketchTable(slots), backend.SketchTable(slots, [(0, 2)])
    outputs = torch.tensor([[-1.0, -1.0, 1.0], [-2.0, -1.0, -1.0]])
    gradients = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    for one in (table, paired):
        one.accumulate([0, 2], [outputs, gradients], 1)
    assert table.silent(1).tolist() == [2, 0, 2]
    assert paired.silent(1).tolist() == [1, 0, 2]
    with pytest.raises(ValueError, match="channels"):
        backend.SketchTable(slots, [(0, 1)])
