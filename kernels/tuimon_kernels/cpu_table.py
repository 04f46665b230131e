"""Emptying and packing the rows of a table; columns as in `cpu_rows`."""

from __future__ import annotations

from typing import Any

import numpy as np

from tuimon_kernels.cpu_bins import HIGH, LOW
from tuimon_kernels.cpu_jit import merged
from tuimon_kernels.cpu_rows import EMPTY_HIGH, EMPTY_LOW, bins_of


@merged
def clear_all(plans: Any, books: Any, moments: Any, bins: Any) -> int:
    """Empty all rows; of the bins only the span in use is touched."""
    for row in range(plans.shape[0]):
        book = books[row]
        mine = bins_of(bins, plans[row])
        if book[LOW] <= book[HIGH]:
            mine[2 * book[LOW] : 2 * book[HIGH] + 2] = 0
        book[:] = 0
        book[LOW] = EMPTY_LOW
        book[HIGH] = EMPTY_HIGH
        moments[row, 0] = 0.0
        moments[row, 1] = 0.0
        moments[row, 2] = np.inf
        moments[row, 3] = -np.inf
    return 0


@merged
def pack_all(rows: Any, plans: Any, books: Any, bins: Any, packed: Any) -> int:
    """Copy the spans in use of these rows' bins, negatives then positives, one row behind the other."""
    to = 0
    for row in rows:
        mine = bins_of(bins, plans[row])
        low, high = books[row, LOW], books[row, HIGH]
        for sign in range(2):
            for at in range(low, high + 1):
                packed[to] = mine[2 * at + sign]
                to += 1
    return to
