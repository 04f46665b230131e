"""How a history of any length fits into a fixed number of rows."""

from __future__ import annotations

import numpy as np

from tuimon.rules.series import Integers


def thinned(count: int) -> Integers:
    """Rows to keep of `count`: every second one of the older half, the first included, and the newer half.

    A quarter of the rows is free afterwards, so the work of thinning is spread over as many samples;
    applied again and again, old steps get sparser and recent ones stay as dense as they came.
    """
    half = count // 2
    return np.concatenate([np.arange(0, half, 2), np.arange(half, count)])
