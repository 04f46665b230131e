"""Columns of steps: no holes, no more columns than there are, and still until they must change."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuimon.rules.series import Series
from tuimon.tui.model.columns import gather
from tuimon.tui.model.span import Span, recent, whole


def _steps(first: int, every: int, count: int) -> np.ndarray:
    return np.arange(count, dtype=np.int64) * every + first


@given(st.integers(0, 10**9), st.integers(1, 5000), st.integers(1, 3000), st.integers(1, 300))
def test_the_whole_run_fits_without_holes(first: int, every: int, count: int, columns: int) -> None:
    steps = _steps(first, every, count)
    span = whole(steps, columns)
    assert span.first == first
    at = (steps - span.first) // span.width
    assert at[-1] < columns
    assert set(range(int(at[-1]) + 1)) == set(at.tolist())


@given(st.integers(1, 5000), st.integers(400, 3000), st.integers(20, 300))
def test_a_long_run_fills_most_of_the_picture(every: int, count: int, columns: int) -> None:
    steps = _steps(0, every, count)
    span = whole(steps, columns)
    if count >= 2 * columns:
        # Widths are at most a factor of 1.5 apart (2 for a few steps).
        assert span.column(int(steps[-1])) >= columns * (0.5 if span.width < 5 else 0.62) - 2  # type: ignore[operator]


def test_widths_change_a_few_times_a_decade() -> None:
    widths = {whole(_steps(0, 1, n), 60).width for n in range(600, 6000, 10)}
    assert len(widths) <= 11


@given(st.integers(0, 10**6), st.integers(1, 500), st.integers(1, 2000), st.integers(4, 200))
def test_the_recent_past_holds_the_newest_step(first: int, every: int, count: int, columns: int) -> None:
    steps = _steps(first, every, count)
    span = recent(steps, columns)
    newest = span.column(int(steps[-1]))
    assert newest is not None
    if count > 2 * columns:
        assert newest >= columns // 2


def test_a_lost_stretch_does_not_widen_the_columns() -> None:
    steps = np.concatenate([_steps(0, 1, 500), _steps(5000, 1, 500)])
    assert whole(steps, 60).width == 100


def test_where_steps_are_left_out_each_look_stands_for_those_up_to_the_next() -> None:
    steps = np.concatenate([_steps(1, 1, 18), _steps(45, 27, 12)])
    span = whole(steps, 60)
    assert span.width == 6
    # 27 steps are four and a half columns; a stretch of twice as many is a hole.
    assert span.hold == 8
    assert whole(_steps(0, 4, 50), 60).hold == 1


def test_no_step_no_width() -> None:
    assert whole(np.zeros(0, np.int64), 10) == Span(0, 1, 10)


def test_gathering_keeps_absence_and_nan_apart() -> None:
    series = Series(
        np.array([0, 1, 2, 3, 6]), np.array([1.0, 3.0, np.nan, 5.0, 9.0]),
        np.array([True, True, True, False, True]),
    )  # fmt: skip
    columns = gather(series, Span(0, 2, 4))
    assert columns.mean.tolist()[0] == 2.0
    assert (columns.low[0], columns.high[0]) == (1.0, 3.0)
    assert np.isnan(columns.mean[1])
    assert columns.nonfinite.tolist() == [False, True, False, False]
    assert np.isnan(columns.mean[2])
    assert columns.mean[3] == 9.0


def test_huge_losses_have_a_mean() -> None:
    series = Series(np.array([0, 1]), np.array([1.7e308, 1.7e308]), np.array([True, True]))
    assert gather(series, Span(0, 2, 1)).mean[0] == pytest.approx(1.7e308)
