"""Scalars over all observed steps, in columns of bounded length."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tuimon.rules.series import Flags, Floats, Integers, Series
from tuimon.session.thinning import compress, thinned


class Timeline:
    """Named scalars by step. When `capacity` rows are full, older ones are thinned 2:1."""

    def __init__(self, capacity: int) -> None:
        if capacity < 4:
            raise ValueError(f"a timeline needs room for 4 rows, not {capacity}")
        self._capacity = capacity
        self._count = 0
        self._steps: Integers = np.zeros(capacity, np.int64)
        self._times: Floats = np.zeros(capacity)
        self._columns: dict[str, tuple[Floats, Flags]] = {}

    def __len__(self) -> int:
        return self._count

    @property
    def nbytes(self) -> int:
        """Bytes of all columns."""
        own = self._steps.nbytes + self._times.nbytes
        return own + sum(values.nbytes + measured.nbytes for values, measured in self._columns.values())

    @property
    def names(self) -> tuple[str, ...]:
        """Scalars that were measured at least once, in the order first seen."""
        return tuple(self._columns)

    @property
    def steps(self) -> Integers:
        """int64[t]: the steps kept."""
        return self._steps[: self._count]

    @property
    def times(self) -> Floats:
        """float64[t]: Unix time of each, seconds."""
        return self._times[: self._count]

    def append(self, step: int, time_s: float, values: Mapping[str, float | None]) -> None:
        """Add one row; None is not measured, and a scalar never measured takes no room."""
        if self._count == self._capacity:
            self._thin()
        row = self._count
        self._steps[row], self._times[row] = step, time_s
        for name, value in values.items():
            if value is None:
                continue
            if name not in self._columns:
                self._columns[name] = (np.zeros(self._capacity), np.zeros(self._capacity, np.bool_))
            column, measured = self._columns[name]
            column[row], measured[row] = value, True
        self._count += 1

    def series(self, name: str, last: int | None = None) -> Series:
        """The newest `last` rows of a scalar; empty when it was never measured."""
        if name not in self._columns:
            return Series(np.zeros(0, np.int64), np.zeros(0), np.zeros(0, np.bool_))
        start = 0 if last is None else max(0, self._count - last)
        values, measured = self._columns[name]
        span = slice(start, self._count)
        return Series(self._steps[span], values[span], measured[span])

    def _thin(self) -> None:
        keep = thinned(self._count)
        self._count = len(keep)
        compress(self._steps, keep)
        compress(self._times, keep)
        for values, measured in self._columns.values():
            compress(values, keep)
            compress(measured, keep)
            measured[self._count :] = False
