"""What the monitor itself takes: the figure that the budget is kept with (promise P2)."""

from __future__ import annotations

import time
from collections import deque

#: What one of our hooks takes apart from what the clocks see. PyTorch and the interpreter need 1.3 us to call
#: a forward hook and 0.9 us for one on a gradient with its registration, and either runs for 0.7 us before it
#: reads anything, when nothing else runs (CPython 3.11, torch 2.13, one EPYC core); between a training's own
#: kernels, with cold caches, about three times that.
DISPATCH_S = 5e-6

#: Our loops also push the training's data out of the caches, which no clock inside of them sees. On `deep`
#: of `bench.overhead` a sampled step took 7.9 ms of CPU more than a bare one, of which the clocks saw 4.3 ms
#: in 202 calls: (4.3 + 0.8) * 1.4 = 7.1. On `mlp` (2.8 ms) and `resnet` (6 ms) this errs on the safe side.
CACHE_FACTOR = 1.4


#: Seconds of the monotonic clock: read twice in every hook, so the cheapest one (40 ns), bare.
clock = time.perf_counter


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
        """Own seconds per second of bare training, from the oldest mark until now; None before the first."""
        if not self._marks:
            return None
        start_s, start_own_s = self._marks[0]
        own_s = self.total_s - start_own_s
        bare_s = clock() - start_s - own_s
        return own_s / bare_s if bare_s > 0 else None
