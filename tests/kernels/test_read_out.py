"""What a table holds at the end of an observation, on every implementation."""

from __future__ import annotations

import math

import pytest
import torch

from tests.kernels.sketch_cases import Exported, exported, normal
from tuimon_kernels import DType, Layout, Slot
from tuimon_kernels.backend import Backend
from tuimon_kernels.spec import DEAD, LIMIT, MOVED, REMEMBERED

ROWS = Slot(6, DType.FLOAT32, 3, Layout.ROWS)
FLAT = Slot(4, DType.FLOAT32)
BOUNDED = Slot(4, DType.FLOAT32, limits=(-math.inf, 0.5), limit_weight=2.0)


def test_the_rows_that_were_given_tensors_and_nothing_else(backend: Backend) -> None:
    table = backend.SketchTable([FLAT, ROWS, FLAT, BOUNDED])
    x = normal(6, torch.float32)
    table.accumulate([3, 1], [torch.tensor([0.0, 0.25, 0.5, 1.0]), x], 1)
    table.accumulate([2], [torch.empty(0)], 1)  # a batch of no elements was seen all the same
    read = table.read_out(1, 1)
    assert read.rows.tolist() == [1, 2, 3]
    assert Exported(read.packed).counts.tolist() == exported(table, [1, 2, 3]).counts.tolist()
    assert read.packed.hist_counts == table.export([1, 2, 3]).hist_counts
    assert read.measured.tolist() == [DEAD, 0, LIMIT]
    # One of four lies at the limit of 0.5 or beyond: 0.5 and 1.0, weighed twice.
    assert read.ratios.tolist()[6:] == [0.0, 0.0, 2 * 2 / 4]
    table.clear()
    assert table.read_out(1, 1).rows.tolist() == []


def test_how_far_a_tensor_moved_is_kept_until_the_table_is_cleared(backend: Backend) -> None:
    table = backend.SketchTable([FLAT] * 4)
    table.accumulate([0, 1, 2, 3], [torch.ones(4)] * 4, 1)
    table.note_moved([3, 0, 2], [0.5, 0.0, math.nan])
    read = table.read_out(1, 1)
    assert read.measured.tolist() == [MOVED, 0, MOVED, MOVED]
    assert read.ratios.tolist()[:6] == [0.0] * 6
    assert math.isnan(read.ratios[6])
    assert read.ratios[9] == 0.5
    table.clear()
    table.accumulate([0], [torch.ones(4)], 2)
    assert table.read_out(1, 1).measured.tolist() == [0]


def test_channels_are_judged_in_rows_seen_often_enough(backend: Backend) -> None:
    table = backend.SketchTable([ROWS, ROWS])
    x = torch.tensor([[1.0, -1.0, -1.0], [-1.0, -1.0, -1.0]])
    seen = []
    for observation in range(1, 7):
        table.clear()
        table.accumulate([0], [x], observation)
        if observation % 2:
            table.accumulate([1], [-x], observation)
        read = table.read_out(1, 3)
        seen.append(
            [(row, read.measured[i] & DEAD, read.ratios[3 * i + 1]) for i, row in enumerate(read.rows)]
        )
    two_of_three, none = pytest.approx(2 / 3), 0.0
    assert seen == [
        [(0, 0, 0.0), (1, 0, 0.0)],
        [(0, 0, 0.0)],
        [(0, DEAD, two_of_three), (1, 0, 0.0)],
        [(0, DEAD, two_of_three)],
        [(0, DEAD, two_of_three), (1, DEAD, none)],
        [(0, DEAD, two_of_three)],
    ]


def test_what_lies_long_ago_is_forgotten(backend: Backend) -> None:
    table = backend.SketchTable([ROWS])
    x = torch.ones(2, 3)
    judged = []
    for observation in range(1, REMEMBERED + 4):
        table.clear()
        if observation in (1, 2, REMEMBERED, REMEMBERED + 1, REMEMBERED + 2, REMEMBERED + 3):
            table.accumulate([0], [x], observation)
        read = table.read_out(1, 3)
        judged += [bool(bits & DEAD) for bits in read.measured]
    # In turn: of the last 128 it was given 1, 2, 3 (1, 2 and 128), 3 (2, 128, 129), 3 and 4.
    assert judged == [False, False, True, True, True, True]
