"""Every metric of every layer over the whole run: the picture of layers by time."""

from __future__ import annotations

import numpy as np

from tuimon.rules.series import Flags, Integers, LayerSeries, Singles
from tuimon.session.combine import LAYER_METRICS
from tuimon.session.compact import NOT_MEASURED, Compact, compact, expand
from tuimon.session.thinning import compress, thinned

#: Columns kept however many layers there are: more than the widest terminal shows.
_FEWEST = 512


class LayerTable:
    """uint16[t, metrics, layers] within a budget of bytes; older columns are thinned 2:1."""

    def __init__(self, names: tuple[str, ...], capacity: int, budget_bytes: int) -> None:
        self.names = names
        per_step = max(1, 2 * len(LAYER_METRICS) * len(names))
        self._capacity = min(capacity, max(_FEWEST, budget_bytes // per_step))
        self._count = 0
        self._steps: Integers = np.zeros(self._capacity, np.int64)
        # Zeroed pages come from the system untouched: what a short run does not use costs nothing.
        self._block: Compact = np.zeros((self._capacity, len(LAYER_METRICS), len(names)), np.uint16)

    def __len__(self) -> int:
        return self._count

    @property
    def nbytes(self) -> int:
        """Bytes when full."""
        return self._steps.nbytes + self._block.nbytes

    def append(self, step: int, values: Singles, measured: Flags) -> None:
        """Add one step: float32[metrics, layers], and what of it was measured."""
        if self._count == self._capacity:
            keep = thinned(self._count)
            compress(self._steps, keep)
            compress(self._block, keep)
            self._count = len(keep)
        self._steps[self._count] = step
        self._block[self._count] = compact(values, measured)
        self._count += 1

    def series(self, metric: str, last: int | None = None) -> LayerSeries:
        """The newest `last` columns of one metric.

        Raises:
            KeyError: no such metric.
        """
        if metric not in LAYER_METRICS:
            raise KeyError(f"no layer metric {metric!r}; there are {', '.join(LAYER_METRICS)}")
        start = 0 if last is None else max(0, self._count - last)
        values, measured = expand(self._block[start : self._count, LAYER_METRICS.index(metric)].T)
        return LayerSeries(self.names, self._steps[start : self._count].copy(), values, measured)

    def renamed(self, names: tuple[str, ...], capacity: int, budget_bytes: int) -> LayerTable:
        """The same past under another layout: layers keep their name's past, new ones have none."""
        table = LayerTable(names, capacity, budget_bytes)
        first = max(0, self._count - table._capacity)
        table._count = self._count - first
        table._steps[: table._count] = self._steps[first : self._count]
        here = {name: i for i, name in enumerate(self.names)}
        for column, name in enumerate(names):
            source = here.get(name)
            past = NOT_MEASURED if source is None else self._block[first : self._count, :, source]
            table._block[: table._count, :, column] = past
        return table
