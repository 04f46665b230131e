"""Two bytes a value, for a picture of millions of them.

The upper half of a float32: sign, eight bits of exponent, seven of mantissa. The range stays, NaN and
infinities stay, and rounding to nearest is off by at most 2**-8 of the value, less than the colours of
the heat map or two printed digits can tell. One of the NaN patterns means "not measured".
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tuimon.rules.series import Flags, Singles

Compact = NDArray[np.uint16]

#: What `expand` promises for normal float32 values.
RELATIVE_ERROR = 2.0**-8

NOT_MEASURED = np.uint16(0xFFFF)
_NAN = np.uint16(0x7FC0)


def compact(values: Singles, measured: Flags) -> Compact:
    """Values of any shape as uint16. Values that round above the largest one become infinite."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    # Half of the last kept place, minus one unless that place is odd: to nearest, ties to even.
    rounded = (bits.astype(np.uint64) + 0x7FFF + ((bits >> 16) & 1)) >> 16
    small = rounded.astype(np.uint16)
    small[np.isnan(values)] = _NAN
    small[~measured] = NOT_MEASURED
    return small


def expand(small: Compact) -> tuple[Singles, Flags]:
    """Values (float32) and whether each was measured; 0 where not."""
    measured = small != NOT_MEASURED
    bits = np.where(measured, small, np.uint16(0)).astype(np.uint32) << 16
    return bits.view(np.float32), measured
