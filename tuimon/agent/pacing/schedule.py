"""When to look: the budget decides the cadence, from what looking was measured to cost."""

from __future__ import annotations

import math
from statistics import median

#: Steps at the start that are all sampled when the budget decides, since trainings go wrong early...
FIRST_STEPS = 20
#: ...unless looking at them has taken this long.
FIRST_STEPS_LIMIT_S = 2.0
#: A training that was entered in mid-run starts nowhere: there the first looks, which show what there is, may
#: take what the budget grants in so many seconds (1 % of them: 0.15 s), and two are taken in any case.
FIRST_LOOK_S = 15.0
#: Share of the budget that goes into looking while a debt is paid back. Entering takes some 0.5 s of CPU, as
#: much as 1 % grants in a minute; without any look until it is paid back nobody would attach.
SHARE_IN_DEBT = 0.5
#: The budget never asks for samples closer than this: nobody reads more than ten a second.
SHORTEST_INTERVAL_S = 0.1
#: A cadence is kept while the right one is within this factor of it, so that it does not flutter.
DEADBAND = 1.25


class Schedule:
    """Chooses the number of steps between samples.

    With cost c per sampled step and bare step time s, sampling each k-th step costs c / (k s) of the
    training, so k = c / (budget s). Both are medians over the recent past.

    Args:
        budget_ratio: share of the training's time to use.
        every: a fixed cadence in steps, whatever it costs.
        joins_late: the training runs already. What entering it took (`owe`) and the first looks cost are a
            debt, paid back by looking half as often as the budget grants.
    """

    def __init__(
        self, budget_ratio: float = 0.01, every: int | None = None, *, joins_late: bool = False
    ) -> None:
        self.budget_ratio = budget_ratio
        self._joins_late = joins_late
        self._debt_s = 0.0
        #: Cadence asked for, in steps; None when the budget decides.
        self.fixed = every
        #: Steps between samples at present.
        self.every = every or 1
        self._costs_s: list[float] = []
        self._step_s: list[float] = []
        self._spent_s = 0.0
        self._observed = 0

    @property
    def settled_every(self) -> int | None:
        """Steps between samples when nothing is owed; None as long as that is not known yet."""
        if self.fixed is not None:
            return self.fixed
        if self._starting or not self._costs_s or not self._step_s:
            return None
        return max(1, math.ceil(self.every * (SHARE_IN_DEBT if self._debt_s else 1.0)))

    def owe(self, seconds: float) -> None:
        """Count what was taken from the training before the first look."""
        self._debt_s += seconds

    @property
    def debt_s(self) -> float:
        """What was taken beyond the budget and is not paid back yet, seconds."""
        return self._debt_s

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
        self._settle(cost_s)
        # The first sampled step finds out what there is and builds the tables: no measure of the others.
        if self._observed > 1:
            self._costs_s = [*self._costs_s[-15:], cost_s]
        if step_s is not None:
            self._step_s = [*self._step_s[-15:], step_s]
        if self.fixed is None:
            self._choose()
        return self.every

    def _settle(self, cost_s: float) -> None:
        """The first looks of one that joins late are a debt; the steps since the last look pay it back."""
        if not self._joins_late:
            return
        if self._starting:
            self._debt_s += cost_s
        elif self._debt_s and self._step_s:
            granted_s = self.budget_ratio * self.every * median(self._step_s)
            self._debt_s = max(self._debt_s - granted_s * (1 - SHARE_IN_DEBT), 0.0)

    @property
    def _starting(self) -> bool:
        limit_s = FIRST_STEPS_LIMIT_S
        if self._joins_late:
            limit_s = min(limit_s, FIRST_LOOK_S * self.budget_ratio)
        return self._observed < FIRST_STEPS and self._spent_s < limit_s

    def _choose(self) -> None:
        if self._starting or not self._costs_s or not self._step_s:
            self.every = 1
            return
        step_s = max(median(self._step_s), 1e-6)
        share = self.budget_ratio * (SHARE_IN_DEBT if self._debt_s else 1.0)
        wanted = max(median(self._costs_s) / (share * step_s), SHORTEST_INTERVAL_S / step_s, 1.0)
        if not self.every / DEADBAND <= wanted <= self.every:
            self.every = math.ceil(wanted)
