"""A series gathered into the columns of a picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tuimon.rules.series import Series
from tuimon.tui.model.span import Span

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """One curve, a value a column; NaN where nothing finite was measured."""

    #: float64[columns]: mean of the finite values, their least and their greatest.
    mean: Floats
    low: Floats
    high: Floats
    #: bool[columns]: a value there was NaN or infinite.
    nonfinite: Flags

    @property
    def empty(self) -> bool:
        """Whether nothing at all is there to be drawn."""
        return not (np.isfinite(self.mean).any() or self.nonfinite.any())


def gather(series: Series, span: Span) -> Columns:
    """The measured values of a series by column of `span`; values outside are left out."""
    n = span.columns
    where = (series.steps - span.first) // span.width
    keep = series.measured & (where >= 0) & (where < n)
    where, values = where[keep], series.values[keep]
    finite = np.isfinite(values)
    nonfinite = np.zeros(n, np.bool_)
    nonfinite[where[~finite]] = True
    where, values = where[finite], values[finite]
    mean, low, high = (np.full(n, np.nan) for _ in range(3))
    if len(where):
        begins = np.flatnonzero(np.diff(where, prepend=where[0] - 1))
        at = where[begins]
        sizes = np.diff(np.append(begins, len(where)))
        # Divided first: a sum of huge losses must not overflow into a hole.
        mean[at] = np.add.reduceat(values / np.repeat(sizes, sizes), begins)
        low[at] = np.minimum.reduceat(values, begins)
        high[at] = np.maximum.reduceat(values, begins)
    return Columns(mean, low, high, nonfinite)
