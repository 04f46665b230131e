"""How a norm grows over time: a jump that stays, or a steady rise. On its logarithm, by samples."""

from __future__ import annotations

import numpy as np

from tuimon.rules.robust import slope, spread, trailing_run
from tuimon.rules.series import Flags, Floats

#: Samples that make the present, and samples before it that make a history.
NOW, HISTORY = 4, 12
#: A norm is huge at this multiple of its robust median (and 6 robust deviations): rare spikes reach it,
#: four samples on end do not. The lower bar once it fires.
_MULTIPLE, _HOLD_MULTIPLE, _DEVIATIONS = 10.0, 4.0, 6.0
#: Growth: this many samples, explained by a line to this share, growing tenfold in all.
_GROWTH_SAMPLES, _STRAIGHT = 12, 0.8


def jumped(logs: Floats, *, held: bool) -> tuple[Flags, float]:
    """Which samples stand far above the history before the present ones, and the level of that history."""
    # Half of the window is history once there is enough: an explosion that lasts must not become normal.
    history = logs[: max(HISTORY, len(logs) // 2)]
    if len(logs) < HISTORY + NOW:
        return np.zeros(len(logs), np.bool_), float(np.median(history))
    base = float(np.median(history))
    multiple = np.log(_HOLD_MULTIPLE if held else _MULTIPLE)
    return logs > base + max(multiple, _DEVIATIONS * spread(history)), base


def grew(logs: Floats) -> int:
    """Samples over which the norm grew steadily and at least tenfold, up to now; 0 if it did not."""
    for count in (_GROWTH_SAMPLES, _GROWTH_SAMPLES // 2):
        newest = logs[-count:]
        if len(newest) < count:
            continue
        rise, straight = slope(newest)
        # Over few samples only a growth that noise cannot make: a hundredfold.
        needed = np.log(_MULTIPLE) * (1 if count == _GROWTH_SAMPLES else 2)
        if rise * (count - 1) >= needed and straight >= _STRAIGHT and newest[-2:].max() >= newest.max():
            return count
    return 0


def risen(logs: Floats, run: int, base: float) -> int:
    """The newest samples among `run` that stand above twice the level it grew from, at least one."""
    return max(1, trailing_run(logs[-run:] > base + np.log(2.0)))
