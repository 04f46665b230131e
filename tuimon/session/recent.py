"""Every tensor over the most recent samples, in full precision: what the rules look at."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuimon.records.layout import Layout
from tuimon.records.tensors import DEAD_RATIO, SATURATED_RATIO, UPDATE_RATIO
from tuimon.rules.series import Floats, Integers, Singles, TensorSeries
from tuimon.session.table import Columns

#: Metrics kept per tensor, and the bit that says whether each was measured.
_ROW = 8
_METRICS = {
    "rms": _ROW, "zero_ratio": _ROW, "nonfinite": _ROW, "elements": _ROW,
    "update_ratio": UPDATE_RATIO, "dead_ratio": DEAD_RATIO, "saturated_ratio": SATURATED_RATIO,
}  # fmt: skip
#: Bytes of one tensor at one sample.
_CELL_BYTES = 4 * len(_METRICS) + 1
#: Samples kept: what no rule needs more of, and what each needs at least.
_MOST, _FEWEST = 256, 64


class Recent:
    """Sliding window of float32 matrices [samples, tensors], within a budget of bytes."""

    def __init__(self, layout: Layout, budget_bytes: int) -> None:
        tensors = len(layout.tensors)
        affordable = budget_bytes * 2 // (3 * max(1, tensors * _CELL_BYTES))
        self.window = min(_MOST, max(_FEWEST, affordable))
        # Half a window of slack: rows move to the front once per that many samples, and every view of
        # the window is one contiguous slice.
        size = self.window + self.window // 2
        self._end = 0
        self._steps: Integers = np.zeros(size, np.int64)
        self._flags: NDArray[np.uint8] = np.zeros((size, tensors), np.uint8)
        self._values: dict[str, Singles] = {m: np.zeros((size, tensors), np.float32) for m in _METRICS}
        self._last_step: Integers = np.full(tensors, -1, np.int64)
        self._low: Floats = np.zeros(tensors)
        self._high: Floats = np.zeros(tensors)

    def __len__(self) -> int:
        return min(self._end, self.window)

    @property
    def nbytes(self) -> int:
        """Bytes of all matrices."""
        fixed = self._steps.nbytes + self._flags.nbytes + 3 * self._low.nbytes
        return fixed + sum(matrix.nbytes for matrix in self._values.values())

    def append(self, step: int, columns: Columns) -> None:
        """Add one sample. Rows that it does not carry are not measured."""
        if self._end == len(self._steps):
            self._slide()
        row, at = self._end, columns.rows
        self._steps[row] = step
        self._flags[row] = 0
        n = columns.n
        self._flags[row, at] = columns.measured | np.where(n > 0, _ROW, 0).astype(np.uint8)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            self._values["rms"][row, at] = np.sqrt(columns.sum_sq / n)
            self._values["zero_ratio"][row, at] = columns.counts[:, 4] / n
            self._values["nonfinite"][row, at] = columns.nonfinite
            self._values["elements"][row, at] = n
            for i, name in enumerate(("update_ratio", "dead_ratio", "saturated_ratio")):
                self._values[name][row, at] = columns.ratios[:, i]
        self._end += 1
        sound = (columns.nonfinite == 0) & (n > 0)
        rows = at[sound]
        self._last_step[rows] = step
        self._low[rows], self._high[rows] = columns.moments[sound, 2], columns.moments[sound, 3]

    def series(self, metric: str, rows: Integers, last: int | None = None) -> TensorSeries:
        """The newest `last` samples of some tensors.

        Raises:
            KeyError: no such metric.
        """
        start = self._end - min(len(self), self.window if last is None else last)
        span = slice(start, self._end)
        measured = (self._flags[span][:, rows] & _METRICS[metric]) > 0
        return TensorSeries(rows, self._steps[span].copy(), self._values[metric][span][:, rows], measured)

    def extremes(self, rows: Integers) -> tuple[Integers, Floats, Floats]:
        """Step, min and max of the last sample in which each row was all finite; step -1 if none."""
        return self._last_step[rows], self._low[rows], self._high[rows]

    def _slide(self) -> None:
        keep = self.window - 1
        matrices: list[NDArray[Any]] = [self._steps, self._flags, *self._values.values()]
        for matrix in matrices:
            matrix[:keep] = matrix[self._end - keep : self._end].copy()
        self._end = keep
