"""Counts over sign and binary exponent: the histogram that needs no range.

Bin `e` of a sign counts the elements with ``2**e <= abs(x) < 2**(e + 1)``. Zeros, NaN and
infinities have counters of their own, so no element is lost in an edge bin, and two histograms
of any tensors merge by addition.

The quantile estimate is that of a DDSketch with gamma = 2 (Masson, Rim and Lee, VLDB 2019,
section 2): within a bin the value ``4/3 * 2**e`` is at most a third away from every element.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

#: What `Histogram.quantile` promises: abs(estimate - x) <= QUANTILE_RELATIVE_ERROR * abs(x),
#: for the element x of that rank among the elements counted. Below 2**-1022 the estimate is itself
#: rounded to float64, by at most half of the smallest number (2**-1075).
QUANTILE_RELATIVE_ERROR = 1.0 / 3.0


@dataclass(frozen=True, slots=True)
class Histogram:
    """Elements by sign and binary exponent, always trimmed to the bins in use.

    `n` is the number of elements looked at. It is smaller than the tensor's own count when the
    kernel looked at a deterministic part of the blocks only; the bins then describe that part.
    """

    #: Elements looked at, NaN and infinities included.
    n: int = 0
    #: Zeros (of either sign) among them.
    zero: int = 0
    #: Exponent of the first bin of `negative` and `positive`; 0 when both are empty.
    first_exponent: int = 0
    #: Counts of negative elements, one per exponent from `first_exponent` upwards.
    negative: tuple[int, ...] = ()
    #: Counts of positive elements, as many as `negative`.
    positive: tuple[int, ...] = ()

    @classmethod
    def of(
        cls, n: int, zero: int, first_exponent: int, negative: Sequence[int], positive: Sequence[int]
    ) -> Histogram:
        """The trimmed histogram of untrimmed counts.

        Raises:
            ValueError: the two signs have different lengths, or the counts exceed `n`.
        """
        if len(negative) != len(positive):
            raise ValueError(f"{len(negative)} negative bins but {len(positive)} positive ones")
        if zero + sum(negative) + sum(positive) > n:
            raise ValueError(f"more elements counted than the {n} looked at")
        used = [i for i, (a, b) in enumerate(zip(negative, positive, strict=True)) if a or b]
        if not used:
            return cls(n=n, zero=zero)
        lo, hi = used[0], used[-1] + 1
        return cls(n, zero, first_exponent + lo, tuple(negative[lo:hi]), tuple(positive[lo:hi]))

    @property
    def finite(self) -> int:
        """Finite elements looked at: zeros and all bins."""
        return self.zero + sum(self.negative) + sum(self.positive)

    def merge(self, other: Histogram) -> Histogram:
        """The histogram of both sets of elements together. Commutative and associative."""
        spans = [h for h in (self, other) if h.negative]
        if not spans:
            return Histogram(self.n + other.n, self.zero + other.zero)
        lo = min(h.first_exponent for h in spans)
        hi = max(h.first_exponent + len(h.negative) for h in spans)
        negative, positive = [0] * (hi - lo), [0] * (hi - lo)
        for h in spans:
            for i, (a, b) in enumerate(zip(h.negative, h.positive, strict=True), h.first_exponent - lo):
                negative[i] += a
                positive[i] += b
        return Histogram(self.n + other.n, self.zero + other.zero, lo, tuple(negative), tuple(positive))

    def quantile(self, q: float) -> float | None:
        """Estimate of the element of rank ``floor(q * (finite - 1))``; None without finite elements.

        The relative error is at most `QUANTILE_RELATIVE_ERROR`; the sign and zeros are exact.

        Raises:
            ValueError: `q` is outside [0, 1].
        """
        if not 0.0 <= q <= 1.0:
            raise ValueError(f"a quantile lies in [0, 1], not at {q}")
        if not self.finite:
            return None
        rank = int(q * (self.finite - 1))
        width = len(self.negative)
        for i in reversed(range(width)):
            rank -= self.negative[i]
            if rank < 0:
                return -_centre(self.first_exponent + i)
        rank -= self.zero
        if rank < 0:
            return 0.0
        for i in range(width):
            rank -= self.positive[i]
            if rank < 0:
                return _centre(self.first_exponent + i)
        raise AssertionError("the bins sum to `finite`, so every rank falls into one")


def _centre(exponent: int) -> float:
    # 4/3 * 2**e; multiplied in this order so that e = 1023 does not overflow.
    return 2.0**exponent * (4.0 / 3.0)


#: The histogram of no elements: the neutral element of `Histogram.merge`.
NO_ELEMENTS = Histogram()
