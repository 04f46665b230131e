"""One tensor, read once: the commutative monoid that everything sampled travels as (promise P4)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from tuimon.records.histogram import NO_ELEMENTS, Histogram


@dataclass(frozen=True, slots=True)
class Sketch:
    """What one pass over a tensor's elements leaves.

    ``merge(sketch(a), sketch(b)) == sketch(a ++ b)``: counts, extremes and histogram exactly,
    the two sums up to float64 rounding.
    """

    #: Elements.
    n: int = 0
    #: Elements that are NaN, +Inf, -Inf, and zero of either sign.
    nan: int = 0
    pos_inf: int = 0
    neg_inf: int = 0
    zero: int = 0
    #: Sum, and sum of squares, of the finite elements; float64.
    sum: float = 0.0
    sum_sq: float = 0.0
    #: Extremes of the finite elements; None when there are none.
    min: float | None = None
    max: float | None = None
    #: Elements at the limits of a bounded activation; None where the tensor has no limits.
    limit: int | None = None
    #: Finite elements by sign and binary exponent.
    histogram: Histogram = NO_ELEMENTS

    @property
    def inf(self) -> int:
        """Elements that are infinite, of either sign."""
        return self.pos_inf + self.neg_inf

    @property
    def finite(self) -> int:
        """Elements that are neither NaN nor infinite."""
        return self.n - self.nan - self.inf

    @property
    def norm(self) -> float:
        """Euclidean norm of all elements: NaN if one is NaN, else infinite if one is infinite."""
        if self.nan:
            return math.nan
        return math.inf if self.inf else math.sqrt(self.sum_sq)

    @property
    def rms(self) -> float | None:
        """Root mean square of all elements; None for an empty tensor."""
        return self.norm / math.sqrt(self.n) if self.n else None

    @property
    def mean(self) -> float | None:
        """Mean of the finite elements; None without any."""
        return self.sum / self.finite if self.finite else None

    @property
    def std(self) -> float | None:
        """Population standard deviation of the finite elements; None without any."""
        mean = self.mean
        if mean is None:
            return None
        return math.sqrt(max(0.0, self.sum_sq / self.finite - mean * mean))

    @property
    def zero_ratio(self) -> float | None:
        """Share of elements that are zero; None for an empty tensor."""
        return self.zero / self.n if self.n else None

    def merge(self, other: Sketch) -> Sketch:
        """The sketch of both tensors' elements together. Commutative and associative.

        Raises:
            ValueError: only one of the two counts elements at limits.
        """
        if (self.limit is None) != (other.limit is None) and self.n and other.n:
            raise ValueError("only one of the sketches counts elements at an activation's limits")
        return Sketch(
            n=self.n + other.n,
            nan=self.nan + other.nan,
            pos_inf=self.pos_inf + other.pos_inf,
            neg_inf=self.neg_inf + other.neg_inf,
            zero=self.zero + other.zero,
            sum=self.sum + other.sum,
            sum_sq=self.sum_sq + other.sum_sq,
            min=_present(min, self.min, other.min),
            max=_present(max, self.max, other.max),
            limit=_total(self.limit, other.limit),
            histogram=self.histogram.merge(other.histogram),
        )


def _present(choose: Callable[[float, float], float], a: float | None, b: float | None) -> float | None:
    if a is None or b is None:
        return b if a is None else a
    return choose(a, b)


def _total(a: int | None, b: int | None) -> int | None:
    if a is None or b is None:
        return b if a is None else a
    return a + b
