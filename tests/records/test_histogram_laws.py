"""Histograms of elements: merging is adding up, quantiles keep their promise."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuimon.records.histogram import NO_ELEMENTS, QUANTILE_RELATIVE_ERROR, Histogram

ELEMENTS = st.lists(st.floats(width=64), max_size=40)
# Half the distance between float64 numbers at their smallest: below 2**-1022 the estimate itself is rounded.
ROUNDING = Fraction(1, 2**1075)


def histogram_of(elements: list[float]) -> Histogram:
    """Brute force: one exponent at a time, over the whole range of float64."""
    finite = [x for x in elements if math.isfinite(x)]
    exponents = range(-1074, 1024)
    negative = dict.fromkeys(exponents, 0)
    positive = dict.fromkeys(exponents, 0)
    for x in finite:
        if x:
            (positive if x > 0 else negative)[math.frexp(x)[1] - 1] += 1
    return Histogram.of(
        len(elements),
        sum(x == 0 for x in finite),
        -1074,
        list(negative.values()),
        list(positive.values()),
    )


@given(ELEMENTS, ELEMENTS)
def test_merging_is_the_histogram_of_both(a: list[float], b: list[float]) -> None:
    assert histogram_of(a).merge(histogram_of(b)) == histogram_of(a + b)


@given(ELEMENTS, ELEMENTS, ELEMENTS)
def test_merging_is_associative_and_commutative(a: list[float], b: list[float], c: list[float]) -> None:
    x, y, z = histogram_of(a), histogram_of(b), histogram_of(c)
    assert x.merge(y) == y.merge(x)
    assert x.merge(y).merge(z) == x.merge(y.merge(z))


@given(ELEMENTS, ELEMENTS)
def test_merging_leaves_its_arguments_alone(a: list[float], b: list[float]) -> None:
    x, y = histogram_of(a), histogram_of(b)
    before = repr((x, y))
    x.merge(y)
    assert repr((x, y)) == before


@given(ELEMENTS)
def test_no_elements_change_nothing(a: list[float]) -> None:
    x = histogram_of(a)
    assert x.merge(NO_ELEMENTS) == NO_ELEMENTS.merge(x) == x


@given(ELEMENTS, st.floats(0.0, 1.0))
def test_a_quantile_is_within_its_promise(a: list[float], q: float) -> None:
    finite = sorted(x for x in a if math.isfinite(x))
    estimate = histogram_of(a).quantile(q)
    if not finite:
        assert estimate is None
        return
    assert estimate is not None
    x = finite[int(q * (len(finite) - 1))]
    promised = Fraction(1, 3) * abs(Fraction(x)) + ROUNDING
    assert pytest.approx(1 / 3) == QUANTILE_RELATIVE_ERROR
    assert abs(Fraction(estimate) - Fraction(x)) <= promised
    assert (estimate > 0) == (x > 0)
    assert (estimate < 0) == (x < 0)


@given(ELEMENTS)
def test_every_element_is_counted_once(a: list[float]) -> None:
    histogram = histogram_of(a)
    assert histogram.n == len(a)
    assert histogram.finite == sum(math.isfinite(x) for x in a)


@pytest.mark.parametrize("q", [-0.1, 1.1, math.nan])
def test_a_quantile_outside_its_range_is_refused(q: float) -> None:
    with pytest.raises(ValueError, match="lies in"):
        histogram_of([1.0]).quantile(q)


def test_unlike_lengths_are_refused_and_both_shown() -> None:
    with pytest.raises(ValueError, match="2 negative bins but 1 positive"):
        Histogram.of(3, 0, 0, [1, 1], [1])


def test_more_elements_than_looked_at_are_refused() -> None:
    with pytest.raises(ValueError, match="more elements counted than the 1"):
        Histogram.of(1, 1, 0, [1], [0])


def test_empty_outer_bins_are_trimmed() -> None:
    assert Histogram.of(3, 0, -5, [0, 0, 1, 0], [0, 2, 0, 0]) == Histogram(3, 0, -4, (0, 1), (2, 0))
