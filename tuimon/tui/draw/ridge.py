"""Histograms over sign and binary exponent as bars: negative, zero, positive; a row per observed step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.segment import Segment
from rich.style import Style

from tuimon.records.histogram import Histogram
from tuimon.tui.draw.numbers import number, percent, scientific
from tuimon.tui.draw.text import Text, cells
from tuimon.tui.glyphs import BARS
from tuimon.tui.look import Look

#: The range of exponents begins and ends at a multiple of this, so that it stays still.
_GRID = 4


@dataclass(frozen=True, slots=True)
class Bins:
    """How exponents share the columns of one side: `per` exponents in each cell, or `wide` cells each."""

    first: int
    last: int
    per: int
    wide: int
    #: Whether there is a side for negative values.
    signed: bool

    @property
    def side(self) -> int:
        """Columns of one side."""
        exponents = self.last - self.first + 1
        return exponents * self.wide if self.wide > 1 else -(-exponents // self.per)


def bins_for(histograms: Sequence[Histogram], width: int) -> Bins | None:
    """The bins that show all of the histograms in at most `width` columns; None when nothing is in them."""
    used = [h for h in histograms if h.negative]
    signed = any(any(h.negative) for h in used)
    side = (width - 1) // 2 if signed else width - 1
    if not used or side < 1:
        return None
    first = min(h.first_exponent for h in used) // _GRID * _GRID
    last = max(h.first_exponent + len(h.negative) - 1 for h in used)
    last = -(-(last + 1) // _GRID) * _GRID - 1
    exponents = last - first + 1
    if exponents <= side:
        return Bins(first, last, 1, max(1, side // exponents), signed)
    return Bins(first, last, -(-exponents // side), 1, signed)


def ridge(histogram: Histogram, bins: Bins, style: Style, look: Look) -> Text:
    """One row: small magnitudes next to the zeros, heights by the tallest bin.

    The bar of the zeros is their share: full when all elements are zero.
    """
    negative = _side(histogram, histogram.negative, bins)
    positive = _side(histogram, histogram.positive, bins)
    top = max(*negative, *positive, 1)
    zero = histogram.zero / histogram.n if histogram.n else 0.0
    left = "".join(_bar(n / top) for n in reversed(negative)) if bins.signed else ""
    return [
        Segment(left, style),
        Segment(_bar(zero), look.dim),
        Segment("".join(_bar(n / top) for n in positive), style),
    ]


def scale(bins: Bins, look: Look) -> Text:
    """The values at the ends, and next to the zeros: "-4     -2e-9 0 2e-9     4"."""
    outer, inner = power(bins.last + 1), f" {power(bins.first)}"
    side = bins.side
    if len(outer) + len(inner) + 3 > side:
        inner = ""
    if len(outer) + 1 > side:
        outer = ""
    right = inner + outer.rjust(side - len(inner))
    if not bins.signed:
        return [Segment("0" + right, look.faint)]
    left = f"-{outer}" if outer else ""
    left += f"-{inner[1:]} ".rjust(side - len(left)) if inner else ""
    return [Segment(left.ljust(side) + "0" + right, look.faint)]


def power(exponent: int) -> str:
    """2**exponent with one digit: "1e-3", "8", "0.5"."""
    value = 2.0 ** max(-1022, min(1023, exponent))
    return f"{value:.3g}" if 0.1 <= value < 1000 else scientific(value, 1)


def summary(histogram: Histogram) -> str:
    """The numbers beside a picture: where the middle nine tenths lie, and the zeros."""
    low, high = histogram.quantile(0.05), histogram.quantile(0.95)
    if low is None or high is None:
        return "nothing finite"
    zeros = f" · zeros {percent(histogram.zero / histogram.n)}" if histogram.zero else ""
    return f"90 % in {number(low, 2)} … {number(high, 2)}{zeros}"


def centred(row: Text, width: int, look: Look) -> Text:
    """The row with the zeros in the middle of `width` columns."""
    before = max(0, (width - cells(row)) // 2)
    return [Segment(" " * before, look.text), *row] if before else row


def _side(histogram: Histogram, counts: Sequence[int], bins: Bins) -> list[int]:
    """Counts of one sign by column, small magnitudes first."""
    columns = [0] * bins.side
    for i, n in enumerate(counts):
        place = histogram.first_exponent + i - bins.first
        if bins.wide > 1:
            columns[place * bins.wide : (place + 1) * bins.wide] = [n] * bins.wide
        else:
            columns[place // bins.per] += n
    return columns


def _bar(share: float) -> str:
    """A bar of that height in [0, 1]; whatever is there at all is seen."""
    if share <= 0:
        return " "
    return BARS[min(len(BARS) - 1, int(share * len(BARS)))]
