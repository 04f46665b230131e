"""How often clipping shortens the gradient."""

from __future__ import annotations

import math
from collections import deque

from tuimon.records.sample import Sample

#: Observed steps that the share is taken over: enough for two digits, and soon true after a change.
_WINDOW = 100
#: Clipping shortens a gradient by at least this share, to be told from rounding: both norms are sums of
#: up to 1e9 squares in stretches of fp32, and clipping itself divides by the norm plus 1e-6.
SHORTENED = 1e-3


class Clipping:
    """The share of the newest observed steps in which clipping shortened the gradient."""

    def __init__(self) -> None:
        self._shortened: deque[bool] = deque(maxlen=_WINDOW)

    def add(self, sample: Sample) -> None:
        """Take one observed step; one in which either norm was not measured tells nothing."""
        before, after = sample.grad_norm_preclip, sample.grad_norm
        if before is None or after is None or math.isnan(before) or math.isnan(after):
            return
        self._shortened.append(before > (1 + SHORTENED) * after)

    @property
    def ratio(self) -> float | None:
        """The share; None as long as no step told."""
        return sum(self._shortened) / len(self._shortened) if self._shortened else None
