"""What a sketch is: the fields, the bins and the rules that every implementation follows.

A sketch describes one tensor by numbers that merge by addition (or minimum and maximum), so that
``sketch(a) + sketch(b) == sketch(a ++ b)`` over calls, ranks and time:

===================  ===================================================================================
n, nan, +Inf, -Inf,  exact counts (``-0.0`` counts as zero)
zero
sum, sum of squares  over the finite elements; in fp64, but within a stretch of at most 16384 elements
                     in fp32 lanes while the squares stay in fp32's range
min, max             over the finite elements; ``+inf`` and ``-inf`` where there is none
limit                elements at or beyond the limits of a bounded activation (where limits are given)
histogram            sign x binary exponent ``e = floor(log2|x|)`` of the finite non-zero elements that
                     were looked at; no range to choose, no clamped edge, subnormals at their true exponent
===================  ===================================================================================

This module imports neither torch nor numpy at run time.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from array import array
    from typing import Any

BLOCK = 4096
"""Elements that are read together: 16 KB of fp32, half of a common first-level cache."""

STRETCH = 4 * BLOCK
"""Elements that are summed in fp32 lanes at most, before fp64 takes over.

Adding up the lanes takes as long as 1300 elements (Zen 4: 0.081 ns per element in stretches of 4096, 0.061 in
the limit), so shorter stretches are slower, and longer ones less exact."""

PIECE = 512
"""Elements that enter the histogram together, or not."""

LOOKED = PIECE
"""Elements that a histogram rests on at least, where the tensor has as many."""

SAMPLE = 8
"""Of how many pieces of a large tensor one enters the histogram."""

COUNTS = ("n", "nan", "pos_inf", "neg_inf", "zero", "limit")
"""The columns of `Packed.counts`."""

MOMENTS = ("sum", "sum_sq", "min", "max")
"""The columns of `Packed.moments`."""


REMEMBERED = 128
"""Observations of which a table remembers whether a row had elements."""

MOVED, DEAD, LIMIT = 1, 2, 4
"""Bits of `ReadOut.measured`, for the columns of `ReadOut.ratios` in their order."""


class DType(enum.IntEnum):
    """The element types that can be sketched."""

    FLOAT64 = 0
    FLOAT32 = 1
    FLOAT16 = 2
    BFLOAT16 = 3

    @property
    def wide(self) -> bool:
        """Whether a row of this type has the bins of fp64 rather than those of fp32."""
        return self is DType.FLOAT64

    @property
    def itemsize_bytes(self) -> int:
        """Bytes per element."""
        return (8, 4, 2, 2)[self]

    @property
    def exponents(self) -> tuple[int, int]:
        """First and last binary exponent that has a bin, both inclusive."""
        return (-1074, 1023) if self.wide else (-149, 127)

    @classmethod
    def of(cls, dtype: object) -> DType | None:
        """Return the type of a torch (or numpy) dtype, None where it cannot be sketched."""
        return _BY_NAME.get(str(dtype).rpartition(".")[2])


_BY_NAME = {member.name.lower(): member for member in DType}


class Layout(enum.IntEnum):
    """Where the channel of an element stands in memory, seen as ``[outer, channel, inner]``."""

    FLAT = 0
    """No channels."""
    ROWS = 1
    """``[..., C]``: the channel runs fastest (inner == 1); also channels_last memory."""
    PLANES = 2
    """``[N, C, *spatial]``: `Slot.inner` neighbours belong to one channel."""


class Activity(enum.IntEnum):
    """When an element makes its channel active. NaN does in both: it is anything but silent."""

    POSITIVE = 0
    """``not (x <= 0)``."""
    NONZERO = 1
    """``x != 0``."""


@dataclass(frozen=True, slots=True)
class Slot:
    """What one row of a table describes; fixed for the table's life.

    `n` is the element count to expect. A tensor of another size (the last, smaller batch) is counted as it
    is, with the same channels. `channels == 0` means no activity per channel. `inner` is the element count of
    a plane. `limits = (lo, hi)` counts the elements ``<= lo`` or ``>= hi`` (lo may be -inf, hi +inf); NaN is
    neither. Their share of the elements is multiplied with `limit_weight`.
    """

    n: int
    dtype: DType
    channels: int = 0
    layout: Layout = Layout.FLAT
    inner: int = 1
    active: Activity = Activity.POSITIVE
    limits: tuple[float, float] | None = None
    limit_weight: float = 1.0

    def __post_init__(self) -> None:
        if self.n < 0 or self.channels < 0 or self.inner < 1:
            raise ValueError(f"a slot needs n >= 0, channels >= 0 and inner >= 1, not {self}")
        if (self.layout is Layout.FLAT) != (self.channels == 0):
            raise ValueError(f"channels go with the layouts ROWS and PLANES, and only with them, not {self}")
        if self.layout is Layout.ROWS and self.inner != 1:
            raise ValueError(f"in ROWS the channel runs fastest, so inner is 1, not {self.inner}")
        if self.limits is not None and not self.limits[0] < self.limits[1]:
            raise ValueError(f"limits are (lo, hi) with lo < hi, not {self.limits}")


@dataclass(frozen=True, slots=True, eq=False)
class Packed:
    """Compact copies of k rows; shares no memory with the table, so another thread may have it.

    Columns are arrays of the standard library, row-major, so that they exist in any interpreter. Row r's bins
    are ``hist_counts[o : o + 2 * hist_width[r]]`` with o the sum of twice the widths before it: `hist_width`
    negatives, then `hist_width` positives, both from exponent `hist_first` upwards; the first and the last
    exponent kept hold at least one element.
    ``hist_n == hist_zero + sum(bins) + non-finite elements looked at``.
    """

    counts: array[int]
    """[k, 6] 'q', columns `COUNTS`; `limit` is 0 where the slot has no limits (not measured)."""
    moments: array[float]
    """[k, 4] 'd', columns `MOMENTS`."""
    hist_n: array[int]
    """[k] 'q', elements looked at for the histogram."""
    hist_zero: array[int]
    """[k] 'q', zeros among them."""
    hist_first: array[int]
    """[k] 'h', exponent of the first bin kept; 0 where the width is 0."""
    hist_width: array[int]
    """[k] 'h', bins kept per sign; 0 where no finite non-zero element was looked at."""
    hist_counts: array[Any]
    """[2 * sum(hist_width)], 'I', or 'q' where a bin could hold more than that."""


@dataclass(frozen=True, slots=True, eq=False)
class ReadOut:
    """What a table holds at the end of an observation: the rows that were given tensors, ascending."""

    rows: array[int]
    """[k] 'i', slots."""
    packed: Packed
    ratios: array[float]
    """[k, 3] 'd': how far the tensor moved (`SketchTable.note_moved`), the share of channels that are silent,
    and the share of elements at the limits; 0 where not measured."""
    measured: array[int]
    """[k] 'B', bits `MOVED`, `DEAD` and `LIMIT` of the ratios that were measured."""


def sample_period(n: int) -> int:
    """Of how many pieces of an n-element tensor one enters the histogram (1: all, so exact).

    The histogram (0.45 ns per element) costs seven times as much as everything else, so it is exact only
    where the tensor is so small that the call costs more. From 2 * `LOOKED` elements on it rests on a part of
    them, never less than `LOOKED`, and from 8 * `LOOKED` on that part stays 1/8. A bin that holds the share p
    of all elements is then off by sqrt((1 - p) / (p * LOOKED)) of its height, 13 % where p is 0.1.
    """
    return max(1, min(SAMPLE, n // LOOKED))


def sampled(piece: int, slot: int, observation: int, n: int) -> bool:
    """Whether a piece (numbered from 0) of an n-element tensor enters the histogram.

    The remainder behind the last full piece belongs to that piece, so no histogram rests on a handful of
    elements. Slot and observation shift the choice: pieces take turns, and tensors are not in step.
    """
    return (min(piece, max(n // PIECE - 1, 0)) + slot + observation) % sample_period(n) == 0
