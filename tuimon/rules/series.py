"""What rules and screens read: values over observed steps, absence kept apart from NaN."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]
#: A value per element, of whatever floating type it was kept in.
Numbers = NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """One scalar over the observed steps. Where `measured` is False the value means nothing."""

    #: int64[t], ascending: optimizer steps.
    steps: Integers
    #: float64[t]; NaN where the training itself had NaN.
    values: Floats
    #: bool[t].
    measured: Flags

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def present(self) -> Series:
        """Only the steps at which it was measured."""
        keep = self.measured
        return self if keep.all() else Series(self.steps[keep], self.values[keep], keep[keep])

    @property
    def newest(self) -> float | None:
        """The value of the newest step; None if it was not measured there."""
        return float(self.values[-1]) if len(self) and self.measured[-1] else None


@dataclass(frozen=True, slots=True, eq=False)
class LayerSeries:
    """One metric of every layer over the observed steps, in execution order."""

    names: tuple[str, ...]
    #: int64[t], ascending. Fewer than a scalar's: the matrix of a long run is thinned earlier.
    steps: Integers
    #: float32[rows, t], rounded to 8 bits of mantissa: for the eye.
    values: Singles
    #: bool[rows, t].
    measured: Flags


@dataclass(frozen=True, slots=True, eq=False)
class TensorSeries:
    """One metric of some tensors over the most recent observed steps."""

    #: int64[k]: indices into `Layout.tensors`.
    rows: Integers
    #: int64[t], ascending.
    steps: Integers
    #: float32[t, k].
    values: Singles
    #: bool[t, k].
    measured: Flags
