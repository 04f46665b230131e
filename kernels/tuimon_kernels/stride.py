"""The constant stride of a sample."""

from __future__ import annotations

import math


def sample_stride(n: int, limit: int) -> int:
    """Return the smallest stride that takes at most `limit` of n elements and is coprime to n.

    The second condition keeps a sample of a matrix from running down a few columns: a row length divides n,
    so the stride shares nothing with it and all columns take their turn.
    """
    if n <= limit:
        return 1
    stride = -(-n // limit)
    while math.gcd(stride, n) != 1:
        stride += 1
    return stride
