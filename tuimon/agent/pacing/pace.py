"""How fast the training steps, with the monitor and without it, from one sample to the next."""

from __future__ import annotations

from tuimon.agent.pacing.meter import Meter, clock


class Pace:
    """Steps and seconds since the last sample, and the monitor's own seconds in them."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._last_s: float | None = None
        self._last_own_s = self._window_own_s = self._window_began_s = 0.0
        self._steps = 0

    def begin_window(self) -> None:
        """What the monitor takes from here on is the cost of the sample to come."""
        self._window_own_s, self._window_began_s = self._meter.total_s, clock()

    def stepped(self) -> None:
        """Count a step, observed or not."""
        self._steps += 1

    def sampled(self) -> None:
        """A sample is complete: begin anew."""
        self._last_s, self._last_own_s, self._steps = clock(), self._meter.total_s, 0
        self._meter.mark(self._last_s)

    @property
    def cost_s(self) -> float:
        """Own seconds in this window."""
        return self._meter.total_s - self._window_own_s

    @property
    def window_s(self) -> float:
        """Wall time of this window so far."""
        return clock() - self._window_began_s

    def step_s(self) -> float | None:
        """Mean wall time of a step since the last sample; None before the first."""
        if self._last_s is None or not self._steps:
            return None
        return (clock() - self._last_s) / self._steps

    def bare_step_s(self) -> float | None:
        """The same without the monitor's own time."""
        step_s = self.step_s()
        if step_s is None:
            return None
        return max(step_s - (self._meter.total_s - self._last_own_s) / self._steps, 0.0)
