"""Statistics that a few wild values do not move."""

from __future__ import annotations

import numpy as np

from tuimon.rules.series import Flags, Floats, Numbers

#: MAD times this estimates the standard deviation of a normal distribution (1 / Phi^-1(3/4)).
MAD_TO_STD = 1.4826


def spread(values: Numbers) -> float:
    """Standard deviation by the median absolute deviation; 0 for fewer than two values."""
    if len(values) < 2:
        return 0.0
    return MAD_TO_STD * float(np.median(np.abs(values - np.median(values))))


def noise(values: Numbers) -> float:
    """Standard deviation of the noise on a curve: by its differences, so that a trend does not count."""
    return spread(np.diff(values)) / float(np.sqrt(2.0)) if len(values) > 2 else 0.0


def trailing_run(flags: Flags) -> int:
    """How many of the newest values are True without a gap."""
    off = np.flatnonzero(~flags[::-1])
    return int(off[0]) if len(off) else len(flags)


def slope(values: Numbers) -> tuple[float, float]:
    """Least-squares slope per place, and the share of variance that the line explains (0..1)."""
    if len(values) < 3:
        return 0.0, 0.0
    place = np.arange(len(values)) - (len(values) - 1) / 2
    centred = values - values.mean()
    total = float(centred @ centred)
    if total == 0.0:
        return 0.0, 0.0
    rise = float(place @ centred) / float(place @ place)
    return rise, rise * rise * float(place @ place) / total


def rank_correlation(values: Numbers) -> float:
    """Spearman's correlation of values with their own place: 1 where they only rise; 0 below three."""
    if len(values) < 3 or values.max() == values.min():
        return 0.0
    ranks = _ranks(values)
    place = np.arange(len(values), dtype=np.float64)
    return float(np.corrcoef(ranks, place)[0, 1])


def _ranks(values: Numbers) -> Floats:
    """Ranks, ties sharing their mean."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    mean: Floats = last - (counts - 1) / 2
    return mean[inverse]


def masked_median(values: Numbers, measured: Flags, axis: int) -> Floats:
    """Median along an axis of what was measured and is no NaN; NaN where nothing is left."""
    masked = np.where(measured, values, np.nan).astype(np.float64)
    empty = np.isnan(masked).all(axis=axis)
    # nanmedian warns about empty slices: give those one harmless value, and take it back.
    filled = np.where(np.expand_dims(empty, axis), 0.0, masked)
    if not np.isnan(filled).any():
        median: Floats = np.median(filled, axis=axis)
    else:
        # Infinities sort last and NaN after them: numpy's own nanmedian is slow on many short slices.
        ordered = np.sort(filled, axis=axis)
        count = (~np.isnan(filled)).sum(axis=axis)
        lower = np.take_along_axis(ordered, np.expand_dims((count - 1) // 2, axis), axis)
        upper = np.take_along_axis(ordered, np.expand_dims(count // 2, axis), axis)
        median = (np.where(lower == upper, lower, 0.5 * (lower + upper))).squeeze(axis)
    return np.where(empty, np.nan, median)
