"""From timed blocks to ratios: what is compared with what, and how it is summed up."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Block:
    """Some steps in a row of one of the twins."""

    #: Whether the watched twin took them.
    watched: bool
    steps: int
    #: CPU time of the whole process, all its threads.
    cpu_s: float
    wall_s: float


@dataclass(frozen=True, slots=True)
class Summary:
    """Many ratios as three of their quantiles."""

    p20: float
    p50: float
    p80: float
    n: int


def per_step(block: Block, metric: str) -> float:
    """Seconds of one step by that clock, `cpu` or `wall`."""
    return (block.cpu_s if metric == "cpu" else block.wall_s) / block.steps


def pair_ratios(blocks: Sequence[Block], metric: str) -> list[float]:
    """Watched over bare of each pair of neighbours (0 and 1, 2 and 3, ...), whichever came first.

    ValueError where a pair is not one of each.
    """
    ratios = []
    for one, other in zip(blocks[::2], blocks[1::2], strict=True):
        if one.watched == other.watched:
            raise ValueError("a pair of blocks holds one watched and one bare")
        watched, bare = (one, other) if one.watched else (other, one)
        ratios.append(per_step(watched, metric) / per_step(bare, metric))
    return ratios


def total_ratio(blocks: Sequence[Block], metric: str) -> float:
    """All watched steps over all bare ones: what a median hides when few blocks hold the cost."""
    means = {}
    for watched in (True, False):
        own = [block for block in blocks if block.watched is watched]
        seconds = math.fsum(per_step(block, metric) * block.steps for block in own)
        means[watched] = seconds / sum(block.steps for block in own)
    return means[True] / means[False]


def quantile(values: Sequence[float], q: float) -> float:
    """The quantile by linear interpolation between neighbours; NaN of nothing."""
    if not values:
        return math.nan
    ordered = sorted(values)
    at = q * (len(ordered) - 1)
    low = math.floor(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (at - low) * (ordered[high] - ordered[low])


def summary(ratios: Sequence[float]) -> Summary:
    """The 20 %, 50 % and 80 % quantiles."""
    return Summary(quantile(ratios, 0.2), quantile(ratios, 0.5), quantile(ratios, 0.8), len(ratios))
