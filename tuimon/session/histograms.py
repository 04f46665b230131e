"""The histograms of the most recent samples, as they came, within a budget of bytes."""

from __future__ import annotations

from collections import deque

from tuimon.records.histogram import Histogram
from tuimon.records.sample import Sample
from tuimon.records.tensors import TensorTable

#: Samples kept at most.
_MOST = 64


class Histograms:
    """Newest samples' tables that carried bins."""

    def __init__(self, budget_bytes: int) -> None:
        self._budget_bytes = budget_bytes
        self._kept: deque[tuple[int, int, TensorTable]] = deque()
        self.nbytes = 0

    def append(self, sample: Sample) -> None:
        """Keep a sample's table if it has bins; the oldest ones make room."""
        if not len(sample.tensors.hist_counts):
            return
        self._kept.append((sample.step, sample.layout, sample.tensors))
        self.nbytes += sample.tensors.nbytes
        while len(self._kept) > 1 and (self.nbytes > self._budget_bytes or len(self._kept) > _MOST):
            self.nbytes -= self._kept.popleft()[2].nbytes

    def of(self, row: int, layout: int, last: int) -> list[tuple[int, Histogram]]:
        """(step, histogram) of one tensor row of a layout, oldest first."""
        found = []
        for step, under, table in list(self._kept)[-last:]:
            if under == layout and row in table.rows:
                found.append((step, table.histogram(table.rows.index(row))))
        return found
