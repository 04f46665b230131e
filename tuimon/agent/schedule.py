"""When to look: the budget decides the cadence, from what looking was measured to cost."""

from __future__ import annotations

import math
from statistics import median

#: Steps at the start that are all sampled when the budget decides, since trainings go wrong early...
FIRST_STEPS = 20
#: ...unless looking at them has taken this long.
FIRST_STEPS_LIMIT_S = 2.0
#: The budget never asks for samples closer than this: nobody reads more than ten a second.
SHORTEST_INTERVAL_S = 0.1
#: A cadence is kept while the right one is within this factor of it, so that it does not flutter.
DEADBAND = 1.25


class Schedule:
    """Chooses the number of steps between samples.

    With cost c per sampled step and bare step time s, sampling each k-th step costs c / (k s) of the
    training, so k = c / (budget s). Both are medians over the recent past.
    """

    def __init__(self, budget_ratio: float = 0.01, every: int | None = None) -> None:
        self.budget_ratio = budget_ratio
        #: Cadence asked for, in steps; None when the budget decides.
        self.fixed = every
        #: Steps between samples at present.
        self.every = every or 1
        self._costs_s: list[float] = []
        self._step_s: list[float] = []
        self._spent_s = 0.0
        self._observed = 0

    def ask(self, every: int | None, budget_ratio: float | None) -> None:
        """Take a viewer's wish: a fixed cadence, or a budget (which ends a fixed cadence)."""
        if every is not None:
            self.fixed = self.every = every
        elif budget_ratio is not None:
            self.fixed, self.budget_ratio = None, budget_ratio
            self._choose()

    def observed(self, cost_s: float, step_s: float | None) -> int:
        """Note a sampled step's cost and the bare time of steps around it; return the steps to the next."""
        self._observed += 1
        self._spent_s += cost_s
        # The first sampled step finds out what there is and builds the tables: no measure of the others.
        if self._observed > 1:
            self._costs_s = [*self._costs_s[-15:], cost_s]
        if step_s is not None:
            self._step_s = [*self._step_s[-15:], step_s]
        if self.fixed is None:
            self._choose()
        return self.every

    def _choose(self) -> None:
        starting = self._observed < FIRST_STEPS and self._spent_s < FIRST_STEPS_LIMIT_S
        if starting or not self._costs_s or not self._step_s:
            self.every = 1
            return
        step_s = max(median(self._step_s), 1e-6)
        wanted = max(median(self._costs_s) / (self.budget_ratio * step_s), SHORTEST_INTERVAL_S / step_s, 1.0)
        if not self.every / DEADBAND <= wanted <= self.every:
            self.every = math.ceil(wanted)
