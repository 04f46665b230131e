"""Which steps a column of a picture stands for.

Columns are steps on a grid, never "the last n samples": a new sample touches the newest column only.
When the run outgrows the picture the columns become wider, which happens a few times a decade of steps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]

#: Widths in steps within each decade: so close that a picture is never less than two thirds full.
_MANTISSAS: Final = (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0)
#: A picture of the recent past moves on by this share when it is full.
_QUARTERS: Final = 4
#: Samples by which a change of the interval is noticed.
_LATELY: Final = 8
#: Samples among which the shortest interval is looked for: the agent looks closest in the beginning.
_EARLY: Final = 64


@dataclass(frozen=True, slots=True)
class Span:
    """`columns` columns of `width` steps each, the first beginning at step `first`."""

    first: int
    width: int
    columns: int
    #: Columns without a sample of their own that belong to the sample before: while only every n-th step is
    #: looked at, each look stands for the steps up to the next. Longer stretches are holes.
    hold: int = 0

    @property
    def last(self) -> int:
        """The last step that has a column."""
        return self.first + self.width * self.columns - 1

    def column(self, step: int) -> int | None:
        """The column of a step; None when it has none."""
        where = (step - self.first) // self.width
        return where if 0 <= where < self.columns else None

    def steps(self, column: int) -> tuple[int, int]:
        """First and last step of a column."""
        start = self.first + column * self.width
        return start, start + self.width - 1


def whole(steps: Integers, columns: int) -> Span:
    """The span of all steps, int64[t] ascending, as wide as it can be."""
    if not len(steps):
        return Span(0, 1, max(1, columns))
    first, last = int(steps[0]), int(steps[-1])
    # A column a sample at most: the first steps of a run do not fill the whole picture.
    finest = int(np.diff(steps[:_EARLY]).min()) if len(steps) > 1 else 1
    width = _round_up(max(math.ceil((last - first + 1) / max(1, columns)), finest))
    return Span(first, width, max(1, columns), hold(steps, width))


def recent(steps: Integers, columns: int) -> Span:
    """The span of the newest steps, a column a sample; it moves on a quarter at a time."""
    if not len(steps):
        return Span(0, 1, max(1, columns))
    columns = max(_QUARTERS, columns)
    width = _round_up(_spacing(steps[-columns:]))
    first, last = int(steps[0]), int(steps[-1])
    held = hold(steps[-columns:], width)
    if last - first < width * columns:
        return Span(first, width, columns, held)
    quarter = width * (columns // _QUARTERS)
    start = (last // quarter - (_QUARTERS - 1)) * quarter
    return Span(start, width, columns, held)


def _spacing(steps: Integers) -> int:
    """Steps between samples, by the ninth decile: single gaps, where frames were lost, do not count."""
    return int(np.quantile(np.diff(steps), 0.9, method="lower")) if len(steps) > 1 else 1


def hold(steps: Integers, width: int) -> int:
    """Columns up to twice the usual interval of these steps, in powers of two so that it stays the same."""
    usual = max(_spacing(steps), _spacing(steps[-_LATELY:]))
    between = math.ceil(2 * usual / width) - 1
    return 1 << (between - 1).bit_length() if between > 1 else max(0, between)


def _round_up(width: int) -> int:
    decade = 1
    while True:
        for mantissa in _MANTISSAS:
            candidate = mantissa * decade
            if candidate >= width and candidate == int(candidate):
                return int(candidate)
        decade *= 10
