"""The loss as rules read it: levels against noise, never a unit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tuimon.rules.robust import noise
from tuimon.rules.series import Floats, Integers
from tuimon.rules.view import View

#: Samples that make a level, and samples that are looked at.
_LEVEL, _WINDOW = 4, 512


@dataclass(frozen=True, slots=True, eq=False)
class Loss:
    """The loss at the steps where it was seen. A NaN counts as infinite: nothing is worse."""

    #: int64[t] and float64[t], newest last, at most 512.
    steps: Integers
    values: Floats
    #: Where it stood before training changed much: the first value, or the median of three if that is less.
    start: float

    def __len__(self) -> int:
        return len(self.values)

    @property
    def now(self) -> float:
        """Median of the newest values."""
        return _level(self.values[-_LEVEL:])

    @property
    def best(self) -> float:
        """The lowest level that several values in a row reached."""
        if len(self.values) < _LEVEL:
            return float(self.values.min())
        windows = np.lib.stride_tricks.sliding_window_view(self.values, _LEVEL)
        return float(np.median(windows, axis=1).min())

    @property
    def noise(self) -> float:
        """Standard deviation around the trend, of the finite values."""
        return noise(self.values[np.isfinite(self.values)])

    def before(self, step: int) -> float:
        """The level just before the update of a step; that step's own loss was read before it."""
        end = int(np.searchsorted(self.steps, step, side="right"))
        return _level(self.values[max(0, end - _LEVEL) : max(1, end)])

    def rises(self, level: float, *, share: float) -> bool:
        """Whether it now stands above a level by more than noise and a share of that level."""
        if not np.isfinite(self.now):
            return True
        return self.now - level > max(4.0 * self.noise, share * abs(level))

    def improves(self) -> bool:
        """Whether it has come down from where it started, and stayed near the best it reached."""
        now, best = self.now, self.best
        if not (np.isfinite(now) and np.isfinite(self.start)):
            return bool(np.isfinite(now))
        gained = self.start - best
        return gained > max(2.0 * self.noise, 0.02 * abs(self.start)) and now - best < 0.5 * gained


def loss_of(view: View) -> Loss | None:
    """The loss so far; None when it is not seen, or when several losses pull at the model."""
    series = view.scalar("loss").present
    if not len(series):
        return None
    values = np.where(np.isnan(series.values), np.inf, series.values)
    return Loss(series.steps[-_WINDOW:], values[-_WINDOW:], min(float(values[0]), _level(values[:3])))


def _level(values: Floats) -> float:
    if not len(values):
        return float("inf")
    ordered = np.sort(values)
    # The middle, the upper one of two: half of infinite plus finite would be no level at all.
    return float(ordered[len(ordered) // 2]) if np.isinf(ordered[-1]) else float(np.median(ordered))
