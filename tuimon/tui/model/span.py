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


@dataclass(frozen=True, slots=True)
class Span:
    """`columns` columns of `width` steps each, the first beginning at step `first`."""

    first: int
    width: int
    columns: int

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
    """The span of all steps, int64[t] ascending, at the finest width at which sampling leaves no holes."""
    if not len(steps):
        return Span(0, 1, max(1, columns))
    first, last = int(steps[0]), int(steps[-1])
    need = math.ceil((last - first + 1) / max(1, columns))
    return Span(first, _round_up(max(need, _spacing(steps))), max(1, columns))


def recent(steps: Integers, columns: int) -> Span:
    """The span of the newest steps, a column a sample; it moves on a quarter at a time."""
    if not len(steps):
        return Span(0, 1, max(1, columns))
    columns = max(_QUARTERS, columns)
    width = _round_up(_spacing(steps[-columns:]))
    first, last = int(steps[0]), int(steps[-1])
    if last - first < width * columns:
        return Span(first, width, columns)
    quarter = width * (columns // _QUARTERS)
    start = (last // quarter - (_QUARTERS - 1)) * quarter
    return Span(start, width, columns)


def _spacing(steps: Integers) -> int:
    """Steps between samples, by the ninth decile: single gaps, where frames were lost, do not count."""
    return int(np.quantile(np.diff(steps), 0.9, method="lower")) if len(steps) > 1 else 1


def _round_up(width: int) -> int:
    decade = 1
    while True:
        for mantissa in _MANTISSAS:
            candidate = mantissa * decade
            if candidate >= width and candidate == int(candidate):
                return int(candidate)
        decade *= 10
