"""A sample's tensor table as NumPy columns, without copying."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuimon.records.tensors import COUNTS, MOMENTS, RATIOS, TensorTable
from tuimon.rules.series import Floats, Integers


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """The k rows of one `TensorTable`."""

    #: int64[k]
    rows: Integers
    #: int64[k, 6], float64[k, 4], float64[k, 3]: see `tuimon.records.tensors`.
    counts: Integers
    moments: Floats
    ratios: Floats
    #: uint8[k]: bits of the ratios that were measured.
    measured: NDArray[np.uint8]

    @property
    def n(self) -> Integers:
        """int64[k]: elements."""
        return self.counts[:, 0]

    @property
    def nonfinite(self) -> Integers:
        """int64[k]: NaN and infinite elements."""
        bad: Integers = self.counts[:, 1:4].sum(axis=1)
        return bad

    @property
    def sum_sq(self) -> Floats:
        """float64[k]: sum of squares; NaN with a NaN among the elements, else infinite with an infinity."""
        nan, inf = self.counts[:, 1] > 0, (self.counts[:, 2] + self.counts[:, 3]) > 0
        total: Floats = np.where(nan, np.nan, np.where(inf, np.inf, self.moments[:, 1]))
        return total


def columns(table: TensorTable) -> Columns:
    """Views into the table's arrays.

    Raises:
        ValueError: the columns have different lengths.
    """
    k = len(table.rows)
    view = Columns(
        _numbers(table.rows).astype(np.int64),
        _numbers(table.counts).reshape(-1, len(COUNTS)),
        _numbers(table.moments).reshape(-1, len(MOMENTS)),
        _numbers(table.ratios).reshape(-1, len(RATIOS)),
        _numbers(table.measured),
    )
    if any(len(part) != k for part in (view.counts, view.moments, view.ratios, view.measured)):
        raise ValueError(f"a table of {k} rows has columns of other lengths")
    return view


def _numbers(column: array[Any]) -> NDArray[Any]:
    dtype = np.dtype(column.typecode)
    return np.frombuffer(column, dtype) if len(column) else np.zeros(0, dtype)
