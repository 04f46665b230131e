"""An A/B in the live process: blocks of steps that are watched and blocks that are not, in turns."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from statistics import median

from tuimon.records.trial import Trial

#: A block lasts about so long at least, seconds: short enough that both of a pair meet the same machine, and
#: long enough that a single odd step does not decide it.
BLOCK_S = 0.25
#: What a step is taken to last before any was timed, seconds.
_UNKNOWN_STEP_S = 0.01
#: Least probability with which the interval holds the true median.
CONFIDENCE = 0.95


class Alternation:
    """Counts steps into blocks and times them.

    Pairs are watched-bare and bare-watched in turns (ABBA), so that a drift of the machine's speed cancels
    out. In a watched block each `every`-th step is observed; whole periods of that make a block.
    """

    def __init__(self, pairs: int, token: str = "") -> None:
        self.pairs = pairs
        #: Tokens of who asked for it.
        self.asked = [token]
        #: Steps between samples in a watched block, and steps in a block; 0 until settled.
        self.every = self.block_steps = 0
        self._order = [watched for i in range(pairs) for watched in ((True, False), (False, True))[i % 2]]
        #: Seconds of a step, by block.
        self._seconds: list[float] = []
        self._steps = 0
        self._began_s: float | None = None

    def settle(self, every: int, step_s: float | None) -> None:
        """Fix how often a watched block is looked at; a step takes so many seconds, as far as is known."""
        self.every = every
        period_s = every * max(step_s or _UNKNOWN_STEP_S, 1e-6)
        self.block_steps = every * max(1, math.ceil(BLOCK_S / period_s))

    @property
    def pairs_done(self) -> bool:
        """Whether a pair has just been completed, and not only the first block of one."""
        return len(self._seconds) % 2 == 0

    @property
    def next(self) -> bool | None:
        """Whether the next block is a watched one; None after the last."""
        return self._order[len(self._seconds)] if len(self._seconds) < len(self._order) else None

    def begin(self, now_s: float) -> None:
        """A block begins."""
        self._steps, self._began_s = 0, now_s

    def stepped(self, now_s: float) -> bool:
        """Count a step; whether a block has ended with it, or none had begun."""
        if self._began_s is None:
            return True
        self._steps += 1
        if self._steps < self.block_steps:
            return False
        self._seconds.append((now_s - self._began_s) / self.block_steps)
        return True

    def result(self, step: int, stopped: str | None = None) -> Trial:
        """What the pairs so far say."""
        pairs = list(zip(self._seconds[::2], self._seconds[1::2], self._order[::2], strict=False))
        watched = [a if first else b for a, b, first in pairs]
        bare = [b if first else a for a, b, first in pairs]
        ratios = [a / b for a, b in zip(watched, bare, strict=True) if b > 0]
        low, high, confidence = interval(ratios)
        return Trial(
            step=step,
            time_s=time.time(),
            pairs=len(pairs),
            wanted=self.pairs,
            block_steps=self.block_steps,
            every=self.every,
            ratio=median(ratios) if ratios else None,
            low=low,
            high=high,
            confidence=confidence,
            watched_step_s=median(watched) if watched else None,
            bare_step_s=median(bare) if bare else None,
            asked=tuple(self.asked),
            done=stopped is not None or self.next is None,
            stopped=stopped,
        )


def interval(values: Sequence[float]) -> tuple[float, float, float] | tuple[None, None, None]:
    """Bounds of the median of what these are drawn from, and how probably it lies between them.

    The k-th least and the k-th greatest value, with k as great as `CONFIDENCE` allows: as many values lie
    below the median as heads fall in n tosses, whatever they are distributed like (the sign test).
    """
    n = len(values)
    best: tuple[float, float, float] | None = None
    outside = 0.0
    for k, (low, high) in enumerate(zip(sorted(values), sorted(values, reverse=True), strict=True)):
        outside += 2 * math.comb(n, k) / 2**n
        if 1 - outside < CONFIDENCE or k >= n // 2:
            break
        best = low, high, 1 - outside
    return best or (None, None, None)
