"""Sketches of elements: what travels is a commutative monoid (promise P4)."""

from __future__ import annotations

import math
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuimon.records.histogram import Histogram
from tuimon.records.sketch import Sketch

# Sums and squares of these are whole numbers below 2**53, whatever the order: float64 holds them exactly.
EXACT = st.lists(
    st.integers(-(2**20), 2**20).map(float) | st.sampled_from([math.nan, math.inf, -math.inf, -0.0]),
    max_size=40,
)
# No square overflows, none underflows to nothing.
ROUNDED = st.lists(st.floats(-1e100, 1e100).filter(lambda x: x == 0 or abs(x) > 1e-100), max_size=40)


def sketch_of(elements: list[float], limit: float | None = None) -> Sketch:
    finite = [x for x in elements if math.isfinite(x)]
    zero = sum(x == 0 for x in finite)
    positive = sum(x > 0 for x in finite)
    return Sketch(
        n=len(elements),
        nan=sum(math.isnan(x) for x in elements),
        pos_inf=elements.count(math.inf),
        neg_inf=elements.count(-math.inf),
        zero=zero,
        sum=sum(finite),
        sum_sq=sum(x * x for x in finite),
        min=min(finite, default=None),
        max=max(finite, default=None),
        limit=None if limit is None else sum(abs(x) >= limit for x in elements),
        # The bins have their own laws; here it is enough that they are carried along.
        histogram=Histogram.of(len(elements), zero, 0, [len(finite) - zero - positive], [positive]),
    )


@given(EXACT, EXACT, st.none() | st.just(3.0))
def test_merging_is_the_sketch_of_both(a: list[float], b: list[float], limit: float | None) -> None:
    assert sketch_of(a, limit).merge(sketch_of(b, limit)) == sketch_of(a + b, limit)


@given(EXACT, EXACT, EXACT)
def test_merging_is_associative(a: list[float], b: list[float], c: list[float]) -> None:
    x, y, z = sketch_of(a), sketch_of(b), sketch_of(c)
    assert x.merge(y).merge(z) == x.merge(y.merge(z))


@given(ROUNDED, ROUNDED)
def test_merging_is_commutative(a: list[float], b: list[float]) -> None:
    assert sketch_of(a).merge(sketch_of(b)) == sketch_of(b).merge(sketch_of(a))


@given(ROUNDED, ROUNDED)
def test_sums_of_rounded_numbers_agree_up_to_rounding(a: list[float], b: list[float]) -> None:
    both, merged = sketch_of(a + b), sketch_of(a).merge(sketch_of(b))
    # Higham, Accuracy and Stability (2002), eq. 4.4: any order of adding n terms errs by at most
    # (n - 1) u sum|x| to first order, u = eps / 2; two sums are compared, and x * x is rounded as well.
    terms = len(a) + len(b) + 1
    unit = sys.float_info.epsilon
    assert abs(both.sum - merged.sum) <= terms * unit * math.fsum(map(abs, a + b))
    assert abs(both.sum_sq - merged.sum_sq) <= terms * unit * math.fsum(x * x for x in a + b)


@given(EXACT, EXACT)
def test_merging_leaves_its_arguments_alone(a: list[float], b: list[float]) -> None:
    x, y = sketch_of(a), sketch_of(b)
    before = repr((x, y))
    x.merge(y)
    assert repr((x, y)) == before


@given(EXACT, st.none() | st.just(3.0))
def test_an_empty_sketch_changes_nothing(a: list[float], limit: float | None) -> None:
    sketch = sketch_of(a, limit)
    assert sketch.merge(Sketch()) == Sketch().merge(sketch) == sketch


def test_limits_do_not_merge_with_their_absence() -> None:
    with pytest.raises(ValueError, match="limits"):
        sketch_of([1.0], limit=1.0).merge(sketch_of([1.0]))


def test_absence_is_none_and_nan_stays_nan() -> None:
    empty = Sketch()
    assert (empty.rms, empty.mean, empty.std, empty.zero_ratio, empty.min, empty.max) == (None,) * 6
    poisoned = sketch_of([1.0, math.nan, math.inf])
    assert math.isnan(poisoned.norm)
    assert poisoned.mean == 1.0
    assert sketch_of([1.0, -math.inf]).norm == math.inf


@given(st.lists(st.integers(-1000, 1000).map(float), min_size=1, max_size=40))
def test_derived_numbers_are_those_of_the_elements(a: list[float]) -> None:
    sketch = sketch_of(a)
    mean = math.fsum(a) / len(a)
    assert sketch.mean == pytest.approx(mean)
    assert sketch.norm == pytest.approx(math.hypot(*a))
    assert sketch.rms == pytest.approx(math.hypot(*a) / math.sqrt(len(a)))
    # Cancellation: the variance is the difference of two numbers of the size of the mean square.
    variance = math.fsum((x - mean) ** 2 for x in a) / len(a)
    assert sketch.std is not None
    assert abs(sketch.std**2 - variance) <= 8 * sys.float_info.epsilon * sketch.sum_sq / len(a)
