"""What the monitor itself takes: the figure that the budget is kept with (promise P2)."""

from __future__ import annotations

import time
from collections import deque

#: What PyTorch and the interpreter spend to call one of our hooks, outside of its body: a forward hook
#: 1.3 us, a node's pre-hook 2.0 us with its registration (CPython 3.11, torch 2.13, one EPYC core).
DISPATCH_S = 1.7e-6

#: Our loops also push the training's data out of the caches, which no clock inside of them sees: measured
#: whole-process overhead was 1.1 to 1.3 times the metered one on the four workloads of `bench.overhead`.
CACHE_FACTOR = 1.2


class Meter:
    """Adds up own seconds, and relates them to the training's over the recent past."""

    def __init__(self, recent: int = 32) -> None:
        #: Seconds inside of our hooks since the meter was made; hooks add to it directly.
        self.own_s = 0.0
        #: Hooks called since then.
        self.calls = 0
        self._marks: deque[tuple[float, float]] = deque(maxlen=recent + 1)

    @property
    def total_s(self) -> float:
        """Own seconds with what calling the hooks and the caches cost."""
        return (self.own_s + self.calls * DISPATCH_S) * CACHE_FACTOR

    def settle(self, start_s: float) -> float:
        """Count the time since `start_s` as own, and return the clock to count on from."""
        now_s = clock()
        self.own_s += now_s - start_s
        return now_s

    def mark(self, now_s: float) -> None:
        """Remember where both clocks stand, at the end of a sampled step."""
        self._marks.append((now_s, self.total_s))

    def ratio(self) -> float | None:
        """Own seconds per second of bare training, over the last marks; None before the second."""
        if len(self._marks) < 2:
            return None
        (start_s, start_own_s), (end_s, end_own_s) = self._marks[0], self._marks[-1]
        own_s = end_own_s - start_own_s
        bare_s = end_s - start_s - own_s
        return own_s / bare_s if bare_s > 0 else None


def clock() -> float:
    """Seconds of the monotonic clock: read twice in every hook, so the cheapest one (40 ns)."""
    return time.perf_counter()
