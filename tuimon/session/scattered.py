"""Scalars that come at steps of their own: what the training logs, and validation passes."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

import numpy as np

from tuimon.rules.series import Series

#: Names, and values of each, that are kept.
MOST_NAMES, MOST_VALUES = 64, 4096


class Scattered:
    """Named scalars, each with its own steps; the newest values of each are kept."""

    def __init__(self) -> None:
        self._values: dict[str, deque[tuple[int, float]]] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """In the order first seen."""
        return tuple(self._values)

    def __contains__(self, name: object) -> bool:
        return name in self._values

    def add(self, step: int, values: Mapping[str, float | None]) -> None:
        """Take values; None is not measured. Names beyond `MOST_NAMES` are not kept."""
        for name, value in values.items():
            if value is None:
                continue
            if name not in self._values and len(self._values) < MOST_NAMES:
                self._values[name] = deque(maxlen=MOST_VALUES)
            if name in self._values:
                self._values[name].append((step, value))

    def series(self, name: str, last: int | None = None) -> Series:
        """The newest `last` values of a name; empty for one never seen."""
        kept = list(self._values.get(name, ()))[-last if last else None :]
        steps = np.array([step for step, _ in kept], np.int64)
        values = np.array([value for _, value in kept], np.float64)
        return Series(steps, values, np.ones(len(kept), np.bool_))
