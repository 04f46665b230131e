"""Curves: dots where the values are, round axes that stay still, marks where nothing is finite."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuimon.rules.series import Series
from tuimon.tui.draw.braille import bridged, characters, raster, trace
from tuimon.tui.draw.chart import LABELS, Curve, chart, dots_across
from tuimon.tui.draw.text import cells
from tuimon.tui.look import dark
from tuimon.tui.model.axis import Axis, axis_for
from tuimon.tui.model.columns import gather
from tuimon.tui.model.span import whole

VALUES = st.lists(
    st.floats(-1e12, 1e12, allow_subnormal=False).map(lambda v: 0.0 if abs(v) < 1e-6 else v),
    min_size=1, max_size=40,
)  # fmt: skip


def _curve(values: np.ndarray, ascii: bool = False, width: int = 40) -> tuple[Curve, object]:
    steps = np.arange(len(values), dtype=np.int64)
    span = whole(steps, dots_across(width, ascii))
    series = Series(steps, values, np.ones(len(values), np.bool_))
    return Curve("loss", gather(series, span), dark(ascii).accent), span


def test_a_dot_is_the_bit_of_its_place() -> None:
    dots = raster(1, 1)
    dots[0, 0] = dots[3, 1] = True
    assert characters(dots) == ["⢁"]
    dots = raster(2, 1, ascii=True)
    dots[0, 0] = dots[:, 1] = True
    assert characters(dots, ascii=True) == ["':"]


def test_a_trace_is_connected() -> None:
    dots = raster(4, 5)
    trace(dots, np.array([0.0, 1.0, 0.0, np.nan, 0.5, 0.5, 0.0, 1.0]))
    assert dots.any(axis=0).tolist() == [True, True, True, False, True, True, True, True]
    # From the bottom to the top within two columns: no row is skipped.
    assert dots[:, :2].any(axis=1).all()


def test_only_short_holes_are_bridged() -> None:
    nan = np.nan
    heights = np.array([nan, 0.0, nan, nan, 0.3, nan, nan, nan, 1.0, nan])
    shown = bridged(heights, 2)
    np.testing.assert_allclose(shown, [nan, 0.0, 0.1, 0.2, 0.3, nan, nan, nan, 1.0, nan])
    assert bridged(heights, 0) is heights


@given(VALUES, st.sampled_from([None, False]))
def test_an_axis_holds_its_values_and_is_kept_while_they_stay(values: list[float], log: bool | None) -> None:
    array = np.array(values)
    axis = axis_for(array, log)
    assert axis is not None
    scaled = np.log10(array) if axis.log else array
    slack = 1e-9 * max(1.0, abs(axis.low), abs(axis.high))
    assert axis.low - slack <= scaled.min()
    assert scaled.max() <= axis.high + slack
    assert axis.low < axis.high
    assert axis_for(array, log, axis) in (axis, axis_for(array, log))


def test_noise_does_not_move_an_axis() -> None:
    generator = np.random.default_rng(0)
    axis = axis_for(generator.normal(2.0, 0.3, 200), None)
    for _ in range(50):
        assert axis_for(generator.normal(2.0, 0.25, 150), None, axis) == axis


def test_positive_values_over_decades_are_logarithmic_by_themselves() -> None:
    wide, narrow = axis_for(np.array([1e-4, 1.0]), None), axis_for(np.array([2.0, 3.0]), None)
    assert wide is not None and wide.log
    assert narrow is not None and not narrow.log
    assert axis_for(np.array([np.nan, np.nan]), None) is None
    signed = axis_for(np.array([-1.0, 1e6]), None)
    assert signed is not None and not signed.log


@pytest.mark.parametrize("ascii", [False, True])
@pytest.mark.parametrize("size", [(20, 3), (40, 8), (70, 14)])
def test_a_chart_has_exactly_its_size(ascii: bool, size: tuple[int, int]) -> None:
    width, height = size
    curve, span = _curve(np.linspace(5.0, 1.0, 300), ascii, width)
    axis = axis_for(curve.columns.mean, None)
    lines = chart([curve], axis, span, width, height, dark(ascii))  # type: ignore[arg-type]
    assert len(lines) == height
    assert all(cells(line) <= width for line in lines)


def test_the_labels_are_the_values_of_their_rows() -> None:
    curve, span = _curve(np.linspace(5.0, 1.0, 40))
    lines = chart([curve], Axis(1.0, 5.0, False), span, 40, 6, dark())  # type: ignore[arg-type]
    shown = ["".join(segment.text for segment in line)[:LABELS].strip() for line in lines]
    assert shown == ["5", "", "3", "", "1", ""]


def test_a_value_that_is_not_finite_is_marked_and_leaves_a_hole() -> None:
    values = np.full(60, 2.0)
    values[30] = np.nan
    curve, span = _curve(values)
    lines = chart([curve], Axis(1.0, 3.0, False), span, 40, 6, dark())  # type: ignore[arg-type]
    assert "×" in "".join(segment.text for segment in lines[0])
