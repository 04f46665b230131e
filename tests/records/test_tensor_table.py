"""Tables by columns: every row reads back as what was put in."""

from __future__ import annotations

import math
from array import array

from tuimon.records.histogram import Histogram
from tuimon.records.layout import LayerInfo, Layout, TensorInfo, TensorKind
from tuimon.records.tensors import DEAD_RATIO, SATURATED_RATIO, UPDATE_RATIO, TensorTable, empty_table

LAYOUT = Layout(
    1,
    (LayerInfo("encoder", "Linear"),),
    (
        TensorInfo("encoder.weight", TensorKind.WEIGHT, 0),
        TensorInfo("encoder.bias", TensorKind.GRADIENT, 0),
        TensorInfo("input", TensorKind.INPUT, None),
    ),
)


def two_rows() -> TensorTable:
    return TensorTable(
        rows=array("i", [0, 2]),
        counts=array("q", [4, 1, 0, 0, 1, 0, 2, 2, 0, 0, 0, 1]),
        moments=array("d", [3.0, 5.0, 0.0, 2.0, 0.0, 0.0, math.inf, -math.inf]),
        ratios=array("d", [0.25, 0.0, 0.0, 0.0, 0.5, 0.5]),
        measured=array("B", [UPDATE_RATIO, DEAD_RATIO | SATURATED_RATIO]),
        hist_n=array("q", [4, 2]),
        hist_zero=array("q", [1, 0]),
        hist_first=array("h", [0, 9]),
        hist_width=array("h", [2, 1]),
        hist_counts=array("I", [0, 0, 1, 1, 2, 0]),
    )


def test_rows_carry_their_names_and_numbers() -> None:
    weight, given = two_rows().stats(LAYOUT)
    assert (weight.name, weight.kind, weight.layer) == ("encoder.weight", TensorKind.WEIGHT, "encoder")
    assert (given.name, given.kind, given.layer) == ("input", TensorKind.INPUT, None)
    assert weight.sketch.histogram == Histogram(4, 1, 0, (0, 0), (1, 1))
    assert (weight.sketch.n, weight.sketch.nan, weight.sketch.zero) == (4, 1, 1)
    assert (weight.sketch.min, weight.sketch.max) == (0.0, 2.0)


def test_what_was_not_measured_is_none() -> None:
    weight, given = two_rows().stats(LAYOUT)
    assert (weight.update_ratio, weight.dead_ratio, weight.saturated_ratio) == (0.25, None, None)
    assert weight.sketch.limit is None
    assert (given.update_ratio, given.dead_ratio, given.saturated_ratio) == (None, 0.5, 0.5)
    assert given.sketch.limit == 1
    assert given.sketch.histogram == Histogram(2, 0, 9, (2,), (0,))
    assert (given.sketch.min, given.sketch.max) == (None, None)


def test_a_row_alone_is_the_row_in_order() -> None:
    table = two_rows()
    assert [table.sketch(k) for k in range(2)] == [row.sketch for row in table.stats(LAYOUT)]


def test_leaving_out_histograms_keeps_the_rest() -> None:
    table = two_rows()
    small = table.without_histograms()
    assert small.nbytes < table.nbytes
    assert small.counts == table.counts
    assert [small.histogram(k) for k in range(2)] == [Histogram(), Histogram()]
    assert len(table.hist_counts) == 6


def test_an_empty_table_has_no_rows() -> None:
    assert len(empty_table()) == 0
    assert list(empty_table().stats(LAYOUT)) == []
