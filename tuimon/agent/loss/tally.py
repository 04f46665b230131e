"""One loss term: what its calls in a step, or in an evaluation, add up to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from tuimon.records.criterion import MOST_CLASSES, MOST_FREQUENT, ClassCounts, Criterion

if TYPE_CHECKING:
    from tuimon.agent.loss.readings import Reading


@dataclass(slots=True, eq=False)
class Tally:
    """Adds readings up. Keeps no tensor of the training's."""

    function: str
    calls: int = 0
    reduction: str = "mean"
    n: int | None = 0
    classes: int | None = None
    judged: int = 0
    correct: int | None = None
    _values: float | None = 0.0
    _total: float | None = 0.0
    _weight: float = 0.0
    #: int64 [classes]
    _labels: torch.Tensor | None = None
    _predictions: torch.Tensor | None = None

    def add(self, reading: Reading) -> None:
        """Take one call into account."""
        self.calls += 1
        self.reduction = reading.reduction
        self._values = _sum(self._values, reading.value)
        self._total = _sum(self._total, reading.total)
        self._weight += reading.weight
        self.n = None if self.n is None or reading.n is None else self.n + reading.n
        self.classes = reading.classes if self.calls == 1 or self.classes == reading.classes else None
        if (labels := reading.labels) is not None:
            self._count(labels.judged, labels.correct, labels.labels, labels.predictions)

    def merge(self, other: Tally) -> None:
        """Take all calls of another one into account."""
        self.calls += other.calls
        self._values = _sum(self._values, other._values)
        self._total = _sum(self._total, other._total)
        self._weight += other._weight
        self.n = None if self.n is None or other.n is None else self.n + other.n
        self.classes = self.classes if self.classes == other.classes else None
        if other.correct is not None and other._labels is not None and other._predictions is not None:
            self._count(other.judged, other.correct, other._labels, other._predictions)

    def _count(self, judged: int, correct: int, labels: torch.Tensor, predictions: torch.Tensor) -> None:
        if self._labels is not None and len(labels) != len(self._labels):
            return  # other classes than before: they do not add up
        self.judged += judged
        self.correct = (self.correct or 0) + correct
        # Not in place: within inference mode these would be tensors that cannot be written to outside of it.
        self._labels = labels if self._labels is None else self._labels + labels
        self._predictions = predictions if self._predictions is None else self._predictions + predictions

    def of_step(self, name: str) -> Criterion:
        """The term of a step: the mean of what its calls returned."""
        return self._criterion(name, None if self._values is None else self._values / self.calls)

    def of_evaluation(self, name: str) -> Criterion:
        """The term of a whole pass: the mean over all of its elements."""
        if self._total is None or not self._weight:
            return self._criterion(name, None)
        return self._criterion(name, self._total / self._weight)

    def _criterion(self, name: str, value: float | None) -> Criterion:
        return Criterion(
            name, value, self.reduction, self.calls, self.n, self.classes, self.judged, self.correct,
            _told(self._labels), _told(self._predictions),
        )  # fmt: skip


def _sum(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a + b


def _told(counts: torch.Tensor | None) -> ClassCounts | None:
    """Classes that occurred; of very many the most frequent ones, and the rest as one number."""
    if counts is None:
        return None
    if len(counts) <= MOST_CLASSES:
        # Fewer operations of torch, which for few classes are all that it costs.
        found = [(label, count) for label, count in enumerate(counts.tolist()) if count]
        return ClassCounts(tuple(label for label, _ in found), tuple(count for _, count in found), 0)
    classes = counts.nonzero().flatten()
    total = int(counts.sum())
    if len(classes) > MOST_FREQUENT:
        classes = counts.topk(MOST_FREQUENT).indices.sort().values
    occurred = counts[classes].tolist()
    return ClassCounts(tuple(classes.tolist()), tuple(occurred), total - sum(occurred))
