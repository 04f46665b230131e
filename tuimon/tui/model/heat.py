"""Layers by time, as few levels that stay still: what the heat map draws.

Colours move only when a value leaves its level by a margin, and the scale only grows, because every cell
that changes is sent to the terminal again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tuimon.session.history import History
from tuimon.tui.model.metric import Metric
from tuimon.tui.model.rows import Row
from tuimon.tui.model.span import Span

Floats = NDArray[np.float64]
Codes = NDArray[np.int8]
Flags = NDArray[np.bool_]

#: Levels of the scale, and the codes of what has no level.
LEVELS: Final = 10
UNSEEN: Final = -1
NONFINITE: Final = LEVELS
#: A cell changes its level only when the value is this far outside, in levels.
_MARGIN: Final = 0.35
#: Decades that a logarithmic scale shows at least.
_LEAST_DECADES: Final = 2.0
#: Layers whose whole past is looked at together.
_AT_ONCE: Final = 64
#: Share of cells that may lie outside before the scale grows.
_OUTSIDE: Final = 0.03


@dataclass(frozen=True, slots=True)
class Scale:
    """What the lowest and the highest level begin and end at; logarithms when the metric is one."""

    low: float
    high: float


@dataclass(frozen=True, slots=True, eq=False)
class Heat:
    """One picture."""

    metric: Metric
    scale: Scale
    span: Span
    #: int8[rows, columns]: level, `UNSEEN` or `NONFINITE`.
    codes: Codes
    #: float64[rows, columns]: the value (for a folded block the geometric mean of its layers, or the mean
    #: of their shares); NaN where not measured or not finite.
    values: Floats
    #: The newest column that has a measurement; -1 without any.
    newest: int


class HeatMap:
    """Keeps the columns that are complete, so that a new sample costs one column."""

    def __init__(self) -> None:
        self._key: object = None
        self._history: History | None = None
        self._scales: dict[str, Scale] = {}
        #: float64[layers, columns]: sums of logarithms (or of shares), and how many were added.
        self._mean: Floats = np.zeros((0, 0))
        self._bad: Flags = np.zeros((0, 0), np.bool_)
        #: bool[columns]: some sample fell into it.
        self._sampled: Flags = np.zeros(0, np.bool_)
        self._from = 0
        self._codes: Codes = np.zeros((0, 0), np.int8)
        self._codes_key: object = None

    def update(self, history: History, metric: Metric, rows: Sequence[Row], span: Span) -> Heat:
        """The picture of these rows as the history stands now."""
        self._gather(history, metric, span)
        source = _sources(self._sampled, span.hold)
        mean, bad = _fold(self._mean, self._bad, rows)
        # A column without a sample is that of the sample before, or the blank one behind the last.
        mean = np.column_stack([mean, np.full(len(mean), np.nan)])[:, source]
        bad = np.column_stack([bad, np.zeros(len(bad), np.bool_)])[:, source]
        scale = self._scale(metric, mean)
        key = (self._key, scale, tuple(row.layers for row in rows))
        before = self._codes if key == self._codes_key else None
        self._codes = _codes(mean, bad, scale, before)
        self._codes_key = key
        seen = np.flatnonzero((self._codes != UNSEEN).any(axis=0))
        with np.errstate(over="ignore", invalid="ignore"):
            values = np.where(bad, np.nan, 10.0**mean if metric.log else mean)
        return Heat(metric, scale, span, self._codes, values, int(seen[-1]) if len(seen) else -1)

    def _gather(self, history: History, metric: Metric, span: Span) -> None:
        names = history.layer_names
        key = (metric.key, span, names)
        if key != self._key or history is not self._history:
            self._key, self._history = key, history
            self._mean = np.full((len(names), span.columns), np.nan)
            self._bad = np.zeros((len(names), span.columns), np.bool_)
            self._sampled = np.zeros(span.columns, np.bool_)
            self._from = 0
            last = None
        else:
            # At least as many samples as the layers have since the beginning of the newest column.
            begin = span.first + self._from * span.width
            last = int(np.count_nonzero(history.steps >= begin))
        if not names or last == 0:
            return
        series = history.layer_series(metric.series, last)
        where = (series.steps - span.first) // span.width
        keep = (where >= self._from) & (where < span.columns)
        if not keep.any():
            return
        where = where[keep]
        begins = np.flatnonzero(np.diff(where, prepend=where[0] - 1))
        at = where[begins]
        self._sampled[at] = True
        # Some layers at a time: a long past of many layers must not be in memory several times over.
        for start in range(0, len(names), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            values = series.values[part][:, keep].astype(np.float64)
            mean, bad = _columns(values, series.measured[part][:, keep], begins, metric.log)
            self._mean[part, at], self._bad[part, at] = mean, bad
        self._from = int(where[-1])

    def _scale(self, metric: Metric, mean: Floats) -> Scale:
        if not metric.log:
            return Scale(0.0, 1.0)
        finite = mean[np.isfinite(mean)]
        known = self._scales.get(metric.key)
        if not finite.size:
            return known or Scale(-_LEAST_DECADES, 0.0)
        if known is not None:
            outside = np.count_nonzero((finite < known.low) | (finite > known.high))
            if outside <= _OUTSIDE * finite.size:
                return known
        low, high = (float(q) for q in np.quantile(finite, (0.01, 0.99)))
        if known is not None:
            low, high = min(low, known.low), max(high, known.high)
        low, high = math.floor(low * 2) / 2, math.ceil(high * 2) / 2
        if high - low < _LEAST_DECADES:
            high = math.ceil((low + high + _LEAST_DECADES) / 2 * 2) / 2
            low = high - _LEAST_DECADES
        self._scales[metric.key] = Scale(low, high)
        return self._scales[metric.key]


def _columns(
    values: Floats, measured: Flags, begins: NDArray[np.int64], log: bool
) -> tuple[Floats, Flags]:
    """[layers, columns] means of [layers, t] values, and where one was not finite; NaN where none was."""
    finite = measured & np.isfinite(values)
    positive = finite & (values > 0) if log else finite
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled = np.where(positive, np.log10(np.where(positive, values, 1.0)) if log else values, 0.0)
        count = np.add.reduceat(positive.astype(np.float64), begins, axis=1)
        mean = np.add.reduceat(scaled, begins, axis=1) / count
    # Exact zeros have no logarithm: below everything, unless something beside them has one.
    mean[np.logical_or.reduceat(finite, begins, axis=1) & (count == 0)] = -np.inf
    return mean, np.logical_or.reduceat(measured & ~np.isfinite(values), begins, axis=1)


def _sources(sampled: Flags, hold: int) -> NDArray[np.int64]:
    """Whose values each column shows: int64[columns], `columns` for nobody's."""
    columns = len(sampled)
    own = np.flatnonzero(sampled)
    if not len(own):
        return np.full(columns, columns)
    before = np.searchsorted(own, np.arange(columns), side="right") - 1
    source = own[np.maximum(before, 0)]
    distance = np.arange(columns) - source
    held = (before >= 0) & (distance <= hold) & (np.arange(columns) <= own[-1])
    return np.where(held, source, columns)


def _fold(mean: Floats, bad: Flags, rows: Sequence[Row]) -> tuple[Floats, Flags]:
    """Rows from layers: the mean of what was measured; one bad layer makes its block bad."""
    members = [row.layers for row in rows]
    if not members:
        return mean[:0], bad[:0]
    if all(len(layers) == 1 for layers in members):
        index = np.array([layers[0] for layers in members], np.int64)
        return mean[index], bad[index]
    order = np.array([layer for layers in members for layer in layers], np.int64)
    begins = np.cumsum([0, *(len(layers) for layers in members[:-1])])
    part, spoiled = mean[order], bad[order]
    finite = np.isfinite(part)
    count = np.add.reduceat(finite.astype(np.float64), begins, axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        folded = np.add.reduceat(np.where(finite, part, 0.0), begins, axis=0) / count
    folded[(count == 0) & np.logical_or.reduceat(np.isneginf(part), begins, axis=0)] = -np.inf
    return folded, np.logical_or.reduceat(spoiled, begins, axis=0)


def _codes(mean: Floats, bad: Flags, scale: Scale, before: Codes | None) -> Codes:
    place = (mean - scale.low) / (scale.high - scale.low) * LEVELS
    known = ~np.isnan(place)
    place = np.clip(np.where(known, place, 0.0), 0.0, LEVELS - 1e-9)
    codes = np.floor(place).astype(np.int8)
    if before is not None and before.shape == codes.shape:
        level = (before >= 0) & (before < LEVELS)
        stays = level & (np.abs(place - (before + 0.5)) <= 0.5 + _MARGIN)
        codes = np.where(stays, before, codes)
    codes = np.where(known, codes, UNSEEN).astype(np.int8)
    return np.where(bad, np.int8(NONFINITE), codes)
