"""The share of steps in which clipping shortened the gradient."""

from __future__ import annotations

import math

import pytest

from tuimon.records.sample import Sample
from tuimon.session.clipping import Clipping


def sample(before: float | None, after: float | None) -> Sample:
    return Sample(index=1, step=1, time_s=0.0, layout=1, grad_norm=after, grad_norm_preclip=before)


@pytest.mark.parametrize(
    ("norms", "ratio"),
    [
        ([], None),
        ([(None, 1.0), (1.0, None), (None, None), (math.nan, math.nan)], None),
        ([(1.0, 1.0), (2.0, 2.0)], 0.0),
        ([(2.0, 1.0), (1.0, 1.0), (None, None), (3.0, 1.0), (0.5, 0.5)], 0.5),
        # Rounding of the two sums is no clipping; an overflow that was clipped is.
        ([(1.0 + 1e-6, 1.0)], 0.0),
        ([(math.inf, 1.0)], 1.0),
        ([(math.inf, math.inf)], 0.0),
        ([(0.0, 0.0)], 0.0),
    ],
)
def test_the_share_is_of_steps_in_which_both_norms_were_measured(
    norms: list[tuple[float | None, float | None]], ratio: float | None
) -> None:
    clipping = Clipping()
    for before, after in norms:
        clipping.add(sample(before, after))
    assert clipping.ratio == ratio


def test_only_the_newest_steps_count() -> None:
    clipping = Clipping()
    for _ in range(1000):
        clipping.add(sample(2.0, 1.0))
    assert clipping.ratio == 1.0
    for _ in range(1000):
        clipping.add(sample(1.0, 1.0))
    assert clipping.ratio == 0.0
