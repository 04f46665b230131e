"""Histograms as bars: everything has a column, zeros stand apart, the ends are what they say."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tuimon.records.histogram import Histogram
from tuimon.tui.draw.ridge import bins_for, power, ridge, scale, summary
from tuimon.tui.draw.tensors import stacked
from tuimon.tui.draw.text import cells
from tuimon.tui.look import dark
from tuimon.tui.model.tensors import Tensor

LOOK = dark()


@st.composite
def histograms(draw: st.DrawFn) -> Histogram:
    width = draw(st.integers(0, 40))
    counts = st.lists(st.integers(0, 1000), min_size=width, max_size=width)
    negative, positive, zero = draw(counts), draw(counts), draw(st.integers(0, 1000))
    n = zero + sum(negative) + sum(positive) + draw(st.integers(0, 10))
    return Histogram.of(n, zero, draw(st.integers(-140, 90)), negative, positive)


@given(st.lists(histograms(), min_size=1, max_size=4), st.integers(3, 80))
def test_rows_fit_and_whatever_is_there_is_seen(several: list[Histogram], width: int) -> None:
    bins = bins_for(several, width)
    if bins is None:
        assert not any(h.negative for h in several)
        return
    for histogram in several:
        row = ridge(histogram, bins, LOOK.accent, LOOK)
        assert cells(row) <= width
        left, zero, right = (segment.text for segment in row)
        assert (left.strip() != "") == (any(histogram.negative) and bins.signed)
        assert (right.strip() != "") == any(histogram.positive)
        assert (zero != " ") == (histogram.zero > 0)
    assert cells(scale(bins, LOOK)) == cells(ridge(several[0], bins, LOOK.accent, LOOK))


def test_small_magnitudes_stand_next_to_the_zeros() -> None:
    histogram = Histogram.of(30, 10, -4, [0, 0, 0, 4], [8, 0, 0, 8])
    bins = bins_for([histogram], 9)
    assert bins is not None
    assert (bins.first, bins.last, bins.side) == (-4, -1, 4)
    assert [segment.text for segment in ridge(histogram, bins, LOOK.accent, LOOK)] == ["▅   ", "▃", "█  █"]


def test_powers_of_two_are_read_as_decimals() -> None:
    assert [power(e) for e in (0, 3, -1, -14, 20, -1074, 1024)] == [
        "1", "8", "0.5", "6e-5", "1e6", "2e-308", "9e307",
    ]  # fmt: skip


def test_the_summary_says_zeros_and_where_most_lies() -> None:
    histogram = Histogram.of(100, 50, 0, [0], [50])
    assert summary(histogram) == "90 % in 0 … 1.3 · zeros 50 %"
    assert summary(Histogram(n=4)) == "nothing finite"


@given(st.integers(1, 60), st.integers(1, 6), st.lists(histograms(), max_size=10))
def test_tensors_share_the_room_there_is(height: int, tensors: int, past: list[Histogram]) -> None:
    tensor = Tensor("gradient", "8×8 fp32", tuple(enumerate(past)))
    lines = stacked([tensor] * tensors, 44, height, LOOK)
    assert len(lines) <= height
    assert all(cells(line) <= 44 for line in lines)


def test_what_was_not_measured_is_said() -> None:
    lines = stacked([Tensor("activation", "", ())], 40, 10, LOOK)
    assert "not measured" in "".join(segment.text for segment in lines[1])
