"""Where a step's wall time goes: waiting for data, forward, backward, optimizer."""

from __future__ import annotations

from tuimon.agent.pacing.meter import Meter, clock
from tuimon.records.sample import StepTimes

#: The parts of a step, as the fields of `StepTimes` without "_s".
PARTS = ("data", "forward", "backward", "optimizer")


class StepTimer:
    """Sums the parts of one observed step; the monitor's own work is taken out of each."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._sums: dict[str, float] = {}
        self._open: dict[str, tuple[float, float]] = {}

    def reset(self) -> None:
        """Begin a step: what runs until the first forward is the wait for data."""
        self._sums, self._open = {}, {}
        self.begin("data")

    def begin(self, part: str) -> None:
        """Start (or restart) a part's clock."""
        self._open[part] = (clock(), self._meter.own_s)

    def restart(self, part: str) -> None:
        """Begin a part that is running anew: what it did so far was something else."""
        if part in self._open:
            self.begin(part)

    def end(self, part: str) -> None:
        """Add the time since `begin`; without one there is nothing to add."""
        if (opened := self._open.pop(part, None)) is not None:
            elapsed_s = clock() - opened[0] - (self._meter.own_s - opened[1])
            self._sums[part] = self._sums.get(part, 0.0) + max(elapsed_s, 0.0)

    def drop(self, part: str) -> None:
        """Its beginning was not seen after all."""
        self._open.pop(part, None)

    def times(self) -> StepTimes:
        """The parts seen so far."""
        return StepTimes(**{f"{part}_s": self._sums.get(part) for part in PARTS})
