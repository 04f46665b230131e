"""The range of values that a chart shows: round, and still while the values stay inside."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: A range is kept while the values fill at least this share of it.
_FULL_ENOUGH = 0.45
#: Positive values over at least this factor are drawn on a logarithmic scale when nobody chose.
_WIDE = 12.0
#: A linear range is at least this share of its values: what is nearly constant shall look it.
_LEAST = 0.01
#: The same for what is altogether constant.
_CONSTANT = 0.1


@dataclass(frozen=True, slots=True)
class Axis:
    """From `low` to `high`, which are decimal logarithms when `log`."""

    low: float
    high: float
    log: bool

    def place(self, values: Floats) -> Floats:
        """Heights in [0, 1] of values of any shape; NaN for what has none, clipped to the range."""
        with np.errstate(divide="ignore", invalid="ignore"):
            scaled = np.log10(np.where(values > 0, values, np.nan)) if self.log else values
        heights: Floats = np.clip((scaled - self.low) / (self.high - self.low), 0.0, 1.0)
        return heights

    def value(self, height: float) -> float:
        """The value at a height in [0, 1]."""
        scaled = self.low + height * (self.high - self.low)
        return float(10.0**scaled) if self.log else scaled


def axis_for(values: Floats, log: bool | None, previous: Axis | None = None) -> Axis | None:
    """The axis that shows all finite values; None when there are none.

    Args:
        values: any shape; NaN is left out.
        log: logarithmic or not; None lets the values decide.
        previous: the axis drawn so far: kept when it still serves, so that the picture stays still.
    """
    finite = values[np.isfinite(values)]
    if not finite.size:
        return None
    log = _decide(finite, log, previous)
    if log:
        finite = np.log10(finite[finite > 0])
        if not finite.size:
            return Axis(-1.0, 0.0, True)
    low, high = float(finite.min()), float(finite.max())
    if previous is not None and previous.log == log and _serves(previous, low, high):
        return previous
    return _round(low, high, log)


def _decide(finite: Floats, log: bool | None, previous: Axis | None) -> bool:
    if log is not None:
        return log
    if not bool((finite > 0).all()):
        return False
    ratio = float(finite.max()) / float(finite.min())
    # Once logarithmic, a smaller ratio suffices to stay so.
    return ratio >= (_WIDE / 2 if previous is not None and previous.log else _WIDE)


def _serves(axis: Axis, low: float, high: float) -> bool:
    inside = axis.low <= low and high <= axis.high
    return inside and (high - low) >= _FULL_ENOUGH * (axis.high - axis.low)


def _round(low: float, high: float, log: bool) -> Axis:
    constant = high - low <= 1e-9 * abs(high)
    least = 0.2 if log else max(abs(low), abs(high)) * (_CONSTANT if constant else _LEAST) or 1.0
    if high - low < least:
        middle = (low + high) / 2
        low, high = middle - least / 2, middle + least / 2
    if log:
        return Axis(_round_log(low, up=False), _round_log(high, up=True), True)
    step = _step((high - low) / 4)
    return Axis(math.floor(low / step) * step, math.ceil(high / step) * step, False)


def _round_log(value: float, up: bool) -> float:
    """The next of 1, 2, 5 times a power of ten, as its logarithm."""
    decade = math.floor(value)
    marks = [decade + math.log10(m) for m in (1, 2, 5, 10)]
    if up:
        return next(mark for mark in marks if mark >= value - 1e-9)
    return next(mark for mark in reversed(marks) if mark <= value + 1e-9)


def _step(least: float) -> float:
    """The next of 1, 2, 2.5, 5, 10 times a power of ten."""
    decade = 10.0 ** math.floor(math.log10(least))
    return next(m * decade for m in (1.0, 2.0, 2.5, 5.0, 10.0) if m * decade >= least * (1 - 1e-9))
