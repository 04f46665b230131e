"""The window through which a rule sees a run. The session's history satisfies it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from tuimon.records.hello import Hello
from tuimon.records.layout import Layout, TensorKind
from tuimon.records.sample import Sample
from tuimon.rules.series import Floats, Integers, Series, TensorSeries

T = TypeVar("T")


class View(Protocol):
    """One run up to its newest sample. Pure reading: a rule that asks twice gets the same."""

    @property
    def hello(self) -> Hello | None:
        """What is being trained; None before the agent said it."""
        ...

    @property
    def layout(self) -> Layout | None:
        """The names behind `tensors`; None before the first one came."""
        ...

    @property
    def sample(self) -> Sample:
        """The newest observed step."""
        ...

    def missing(self, series: str) -> str | None:
        """Why a series cannot be judged; None when there is something to look at."""
        ...

    def scalar(self, name: str, last: int | None = None) -> Series:
        """A scalar of the samples over the newest `last` of them; empty if there never was one."""
        ...

    def tensors(self, metric: str, rows: Integers, last: int | None = None) -> TensorSeries:
        """A tensor metric over the newest `last` samples of the recent window.

        Metrics: "rms", "update_ratio", "dead_ratio", "saturated_ratio", "zero_ratio",
        "nonfinite" (NaN and infinite elements), "elements" (how many were looked at).

        Raises:
            KeyError: no such metric.
        """
        ...

    def extremes(self, rows: Integers) -> tuple[Integers, Floats, Floats]:
        """Step, min and max of the last sample in which each row was all finite; step -1 if none."""
        ...

    def rows_of(self, *kinds: TensorKind) -> Integers:
        """Indices of the tensors of these kinds in the current layout, ascending."""
        ...

    def per_layout(self, build: Callable[[Layout], T]) -> T:
        """`build(layout)`, computed once for each layout.

        Raises:
            ValueError: there is no layout yet.
        """
        ...
