"""How a history of any length fits into a fixed number of rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuimon.rules.series import Integers

#: Rows that are moved at a time: a copy of the whole would double the memory, for good.
_CHUNK = 64


def thinned(count: int) -> Integers:
    """Rows to keep of `count`: every second one of the older half, the first included, and the newer half.

    A quarter of the rows is free afterwards, so the work of thinning is spread over as many samples;
    applied again and again, old steps get sparser and recent ones stay as dense as they came.
    """
    half = count // 2
    return np.concatenate([np.arange(0, half, 2), np.arange(half, count)])


def compress(rows: NDArray[Any], keep: Integers) -> None:
    """Move the rows `keep` (ascending) to the front, in place; what follows them is left as it is."""
    for start in range(0, len(keep), _CHUNK):
        chunk = keep[start : start + _CHUNK]
        # A row never moves back to a place that is still to be read: keep[i] >= i.
        rows[start : start + len(chunk)] = rows[chunk]
