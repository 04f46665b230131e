"""Passes of validation: losses computed between two training steps, without training on them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from tuimon.agent.loss.readings import read
from tuimon.agent.loss.tally import Tally
from tuimon.agent.pacing.meter import clock
from tuimon.records.criterion import Evaluation

if TYPE_CHECKING:
    from tuimon.agent.loss.loss_functions import Call
    from tuimon.agent.pacing.schedule import Schedule

#: Where the models are in train mode, a loss without gradients may be a figure of the training step itself
#: (a metric, a teacher's loss). It is validation only if there were several batches in a row, and none
#: within so many steps before.
QUIET_STEPS = 2
LEAST_BATCHES = 2
#: Losses of a pass that are told apart; more are more likely sizes than losses.
MOST_TERMS = 8


class _Pass:
    """One pass, not complete yet."""

    def __init__(self, step: int, least: int | None) -> None:
        self.step = step
        #: Batches that make it validation; None when nothing does.
        self.least = least
        self.tallies: dict[tuple[str, str, int | None], Tally] = {}
        self.began_s = self.last_s = clock()
        self.ended_s = time.time()
        self.spent_s = 0.0
        self.calls = 0
        #: Whether a loss had gradients: then a backward says that it was training.
        self.with_gradients = False

    def take(self, call: Call, labels: bool) -> None:
        reading = read(call, labels, self.calls)
        self.calls += 1
        key = call.function.name, reading.reduction, reading.classes
        if key not in self.tallies:
            if len(self.tallies) >= MOST_TERMS:
                return
            self.tallies[key] = Tally(call.function.name)
        self.tallies[key].add(reading)
        self.with_gradients = self.with_gradients or call.result.requires_grad

    @property
    def batches(self) -> int:
        return next(iter(self.tallies.values())).calls if self.tallies else 0

    def evaluation(self) -> Evaluation:
        names: list[str] = []
        for tally in self.tallies.values():
            earlier = sum(name.partition(".")[0] == tally.function for name in names)
            names.append(f"{tally.function}.{earlier}" if earlier else tally.function)
        criteria = zip(self.tallies.values(), names, strict=True)
        terms = tuple(tally.of_evaluation(name) for tally, name in criteria)
        return Evaluation(self.step, self.ended_s, self.batches, self.last_s - self.began_s, terms)


class Passes:
    """Collects calls into passes. A pass is complete when training goes on.

    Args:
        step: the number of training steps so far.
        schedule: whose budget reading labels keeps to, as a share of the pass's own time.
        publish: takes each complete pass.
    """

    def __init__(
        self, step: Callable[[], int], schedule: Schedule, publish: Callable[[Evaluation], None]
    ) -> None:
        self._step, self._schedule, self._publish = step, schedule, publish
        self._pass: _Pass | None = None
        #: Steps since the last pass, or what looked like one.
        self._quiet = 0

    @property
    def open(self) -> bool:
        """Whether a pass is not complete yet."""
        return self._pass is not None

    def take(self, call: Call, certain: bool) -> None:
        """Take a call; `certain`: the models' mode says that it belongs to validation."""
        start_s = clock()
        if self._pass is None:
            quiet = LEAST_BATCHES if self._quiet >= QUIET_STEPS else None
            self._pass = _Pass(self._step(), 1 if certain else quiet)
        one = self._pass
        # With a fixed cadence looking may cost what it costs.
        allowed_s = self._schedule.budget_ratio * max(start_s - one.began_s, 0.0)
        one.take(call, self._schedule.fixed is not None or one.spent_s <= allowed_s)
        one.last_s, one.ended_s = clock(), time.time()
        one.spent_s += one.last_s - start_s

    def close(self) -> None:
        """Training goes on."""
        if (one := self._pass) is None:
            return
        self._pass, self._quiet = None, 0
        if one.least is not None and one.batches >= one.least:
            self._publish(one.evaluation())

    def begin_backward(self) -> None:
        """Training goes on, and what had gradients was part of it."""
        if self._pass is not None and self._pass.with_gradients:
            self._pass = None
        self.close()

    def end_step(self) -> None:
        """A training step is complete."""
        self.begin_backward()
        self._quiet += 1
