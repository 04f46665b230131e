"""Tensors that a sketch must get right, and the bounds that it promises."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from tuimon_kernels.backend import SketchTable
from tuimon_kernels.spec import BLOCK, STRETCH, DType, Packed

DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
# One element, odd lengths, a block, a block and one, two blocks, nine and a bit; sampling begins at 1024.
SIZES = (1, 7, 64, 1000, BLOCK, BLOCK + 1, 2 * BLOCK, 9 * BLOCK + 13)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(n: int, dtype: torch.dtype, seed: int = 0, scale: float = 0.01) -> torch.Tensor:
    return (torch.randn(n, generator=seeded(seed), dtype=torch.float64) * scale).to(dtype)


def sprinkled(n: int, dtype: torch.dtype, *values: float) -> torch.Tensor:
    """Normal noise in which every few elements one of these values stands."""
    x = normal(n, dtype)
    for i, value in enumerate(values):
        x[i :: len(values) + 2] = value
    return x


def any_bits(n: int, dtype: torch.dtype) -> torch.Tensor:
    """Every bit pattern equally likely: NaN of both signs, infinities, subnormals, all exponents."""
    width = dtype.itemsize
    raw = torch.randint(0, 256, (n * width,), generator=seeded(3), dtype=torch.uint8)
    return raw.view(dtype)


def subnormal(dtype: torch.dtype, n: int) -> torch.Tensor:
    """All subnormal magnitudes of the type in turn, from the smallest on, of both signs, and zeros."""
    integers = {8: torch.int64, 4: torch.int32, 2: torch.int16}[dtype.itemsize]
    bits = {torch.float64: 52, torch.float32: 23, torch.float16: 10, torch.bfloat16: 7}[dtype]
    pattern = torch.tensor([(1 << (i % bits)) | (i % 3 == 0) for i in range(n)], dtype=integers)
    x = pattern.view(dtype).clone()
    x[1::2] = -x[1::2]
    x[::5] = 0.0
    return x


def negative_nan(dtype: torch.dtype) -> torch.Tensor:
    """Return NaN with the sign bit set, which is what 0/0 gives on x86; conversions may lose it."""
    integers = {8: torch.int64, 4: torch.int32, 2: torch.int16}[dtype.itemsize]
    return torch.tensor(-1, dtype=integers).view(dtype)


def family(n: int, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """Return the distributions of the suite at one size and type."""
    tiny, huge = (1e-30, 1e30) if dtype is not torch.float16 else (1e-7, 6e4)
    return {
        "normal": normal(n, dtype),
        "relu": normal(n, dtype, 1, 1.0).clamp(min=0),
        "all zero": torch.zeros(n, dtype=dtype),
        "minus zero": torch.full((n,), -0.0, dtype=dtype),
        "constant": torch.full((n,), -1.5, dtype=dtype),
        "log uniform": torch.exp(normal(n, torch.float64, 2, 5.0)).to(dtype),
        "huge": normal(n, dtype, 4, huge),
        "tiny": normal(n, dtype, 5, tiny),
        "huge among small": sprinkled(n, dtype, huge),
        "one nan": torch.cat((torch.tensor([math.nan]), normal(n - 1, torch.float32, 6))).to(dtype),
        "nan of both signs": torch.where(normal(n, torch.float32) < 0, negative_nan(dtype), math.nan).to(
            dtype
        ),
        "infinities": sprinkled(n, dtype, math.inf, -math.inf),
        "everything": sprinkled(n, dtype, math.inf, -math.inf, math.nan, 0.0, -0.0, tiny, -huge),
        "only minus inf": torch.full((n,), -math.inf, dtype=dtype),
        "subnormal": subnormal(dtype, n),
        "any bits": any_bits(n, dtype),
    }


def moment_bounds(x: torch.Tensor) -> tuple[float, float]:
    """Return how far (sum, sum of squares) may lie from the exact values.

    A stretch of m elements is summed in some order of u-rounded additions, so its sum errs by at most
    gamma_m * sum|x| with gamma_m = m u / (1 - m u) (Higham 2002, 4.2); a square adds one rounding, hence
    gamma_(m + 1) * sum x^2. Stretches are added in fp64. u is 2^-24 for narrow types, 2^-53 for fp64; the
    oracle itself sums in fp64, which is the second term. Squares below fp32's smallest number cost at most
    2^-149 each, and only in blocks whose largest square is 2^-110 or more, which u covers.
    """
    dtype = DType.of(x.dtype)
    assert dtype is not None
    finite = x[torch.isfinite(x)].double()
    u = 2.0**-53 if dtype.wide else 2.0**-24
    m, n = min(len(x), STRETCH) + 1, len(x)
    gamma = m * u / (1 - m * u) + 2 * n * 2.0**-53
    return gamma * float(finite.abs().sum()), gamma * float((finite * finite).sum())


class Exported:
    """The columns of a `Packed` as matrices."""

    def __init__(self, packed: Packed) -> None:
        self.counts: Any = np.array(packed.counts).reshape(-1, 6)
        self.moments: Any = np.array(packed.moments).reshape(-1, 4)
        self.hist_n: Any = np.array(packed.hist_n)
        self.hist_zero: Any = np.array(packed.hist_zero)
        self.hist_first: Any = np.array(packed.hist_first)
        self.hist_width: Any = np.array(packed.hist_width)
        self.hist_counts: Any = np.array(packed.hist_counts)


def exported(table: SketchTable, slots: Sequence[int] | None = None) -> Exported:
    return Exported(table.export(slots))
