"""One norm over many sketches."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tuimon_kernels import Packed


def joint_norm(spans: Iterable[tuple[Packed, int, int]]) -> float:
    """Euclidean norm of the elements behind the rows [start, end) of each; NaN and Inf as in a norm."""
    total, infinite, nan = 0.0, False, False
    for packed, start, end in spans:
        counts = packed.counts[6 * start : 6 * end]
        nan = nan or any(counts[1::6])
        infinite = infinite or any(counts[2::6]) or any(counts[3::6])
        total += sum(packed.moments[4 * start + 1 : 4 * end : 4])
    if nan:
        return math.nan
    return math.inf if infinite else math.sqrt(total)
