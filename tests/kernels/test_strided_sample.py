"""The update ratio, by a sample."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.kernels.sketch_cases import DTYPES, normal
from tuimon_kernels.backend import Backend
from tuimon_kernels.stride import sample_stride


def ratio(old: torch.Tensor, new: torch.Tensor) -> float:
    old, new = old.double(), new.double()
    return float((new - old).norm() / old.norm())


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("n", [1, 100, 4096])
def test_exact_up_to_the_limit(backend: Backend, n: int, dtype: torch.dtype) -> None:
    old = normal(n, dtype, 1)
    new = old + normal(n, dtype, 2, 1e-4)
    kept = [x.clone() for x in (old, new)]
    sample = backend.StridedSample([old, new])
    sample.take([old, new])
    # Sums of 4096 fp64 numbers in some order: gamma_4096, half of it for a root, twice for a quotient.
    assert sample.ratios([new, new]).tolist() == pytest.approx([ratio(old, new), 0.0], rel=4096 * 2.0**-52)
    assert all(torch.equal(x, y) for x, y in zip((old, new), kept, strict=True))


def test_samples_of_all_types_stand_side_by_side(backend: Backend) -> None:
    old = [normal(5000 + i, dtype, i) for i, dtype in enumerate(DTYPES * 2)]
    new = [x + normal(len(x), x.dtype, 9 + i, 1e-3) for i, x in enumerate(old)]
    sample = backend.StridedSample(old, limit=700)
    sample.take(old)
    strides = [sample_stride(len(x), 700) for x in old]
    expected = [ratio(x[::s], y[::s]) for x, y, s in zip(old, new, strides, strict=True)]
    assert sample.ratios(new).tolist() == pytest.approx(expected, rel=1e-12)
    assert sample.ratios(old).tolist() == [0.0] * 8


def test_a_sample_is_near_the_whole(backend: Backend) -> None:
    old = normal(300_000, torch.float32).view(500, 600)
    new = old * (1 + normal(600, torch.float32, 3, 1e-3))  # each column moves by its own factor
    sample = backend.StridedSample([old])
    sample.take([old])
    # 4096 draws: the relative spread of a mean of squares of products of normals is sqrt(8 / 4096) = 0.044,
    # of its root half of that; the 600 factors are common to both. Four spreads.
    assert sample.ratios([new])[0] == pytest.approx(ratio(old, new), rel=0.09)


def test_what_zero_and_non_finite_weights_give(backend: Backend) -> None:
    old = [torch.zeros(3), torch.zeros(3), torch.tensor([1.0, math.nan]), torch.ones(2), torch.zeros(1)]
    new = [
        torch.zeros(3),
        torch.ones(3),
        torch.ones(2),
        torch.tensor([1.0, math.inf]),
        torch.tensor([math.nan]),
    ]
    old.append(torch.empty(0))
    new.append(torch.empty(0))
    sample = backend.StridedSample(old)
    sample.take(old)
    found = sample.ratios(new)
    assert np.array_equal(found, [0.0, math.inf, math.nan, math.inf, math.nan, 0.0], equal_nan=True)


def test_released_memory_is_not_a_number(backend: Backend) -> None:
    x = [torch.ones(8), torch.ones(8, dtype=torch.float64)]
    sample = backend.StridedSample(x)
    sample.take(x)
    for y in x:
        y.untyped_storage().resize_(0)
    assert np.isnan(sample.ratios(x)).all()


def test_misuse_is_refused(backend: Backend) -> None:
    x = torch.ones(8)
    sample = backend.StridedSample([x])
    with pytest.raises(RuntimeError, match="call take"):
        sample.ratios([x])
    for wrong in ([x[1:]], [x, x], [x.double()], []):
        with pytest.raises(ValueError, match="made for"):
            sample.take(wrong)
    with pytest.raises(ValueError, match="at least one element"):
        backend.StridedSample([x], limit=0)
    with pytest.raises(ValueError, match="int64"):
        backend.StridedSample([torch.arange(3)])


@given(n=st.integers(0, 1 << 34), limit=st.integers(1, 1 << 14))
def test_a_stride_takes_no_more_than_the_limit_and_shares_no_divisor(n: int, limit: int) -> None:
    stride = sample_stride(n, limit)
    assert -(-n // stride) <= limit
    assert stride == 1 or math.gcd(stride, n) == 1
    assert n > limit or stride == 1
