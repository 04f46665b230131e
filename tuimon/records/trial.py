"""What watching costs, measured: steps with and without it in turns, in the training itself."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Trial:
    """How far an A/B of blocks of steps has come, and what it says so far.

    A pair is a block of watched steps and one of bare steps beside it, of as many steps, in changing order.
    """

    step: int
    #: Unix time, seconds.
    time_s: float
    #: Pairs measured, and pairs asked for.
    pairs: int
    wanted: int
    #: Steps in a block, and steps between samples in a watched one.
    block_steps: int
    every: int
    #: Median over the pairs of watched over bare time of a step; None before the first pair.
    ratio: float | None = None
    #: Interval of that median by order statistics, and the probability with which it holds the true one;
    #: None with too few pairs for 95 %.
    low: float | None = None
    high: float | None = None
    confidence: float | None = None
    #: Medians over the blocks of the time of a step, seconds.
    watched_step_s: float | None = None
    bare_step_s: float | None = None
    #: Tokens of who asked for it: see `Measure`.
    asked: tuple[str, ...] = ()
    #: Whether this is the end of it, and if it came early, why.
    done: bool = False
    stopped: str | None = None
