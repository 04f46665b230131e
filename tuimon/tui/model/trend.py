"""Which way a noisy curve goes."""

from __future__ import annotations

import numpy as np

from tuimon.rules.series import Series

#: Values that are compared: the newest half of these with the half before.
_WINDOW = 32
#: How many standard errors of the difference make a direction.
_CLEAR = 2.0


def direction(series: Series) -> int:
    """1 for rising, -1 for falling, 0 when the noise allows neither."""
    values = series.present.values[-_WINDOW:]
    values = values[np.isfinite(values)]
    half = len(values) // 2
    if half < 4:
        return 0
    before, after = values[:half], values[-half:]
    error = float(np.sqrt((before.var() + after.var()) / half))
    change = float(after.mean() - before.mean())
    if abs(change) <= _CLEAR * error:
        return 0
    return 1 if change > 0 else -1
