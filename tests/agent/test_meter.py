"""What the monitor says of its own cost."""

from __future__ import annotations

import math

import pytest

from tuimon.agent.pacing import meter as module
from tuimon.agent.pacing.meter import CACHE_FACTOR, Meter


class Clock:
    """Stands where it is put."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "clock", clock)
    return clock


def test_there_is_no_ratio_before_the_first_mark(clock: Clock) -> None:
    meter = Meter()
    clock.now_s = 1.0
    assert meter.ratio() is None


def test_the_steps_since_the_last_mark_count(clock: Clock) -> None:
    # A burst of looks, then a long time without: the figure must not stay that of the burst.
    meter = Meter()
    meter.mark(0.0)
    meter.own_s = 1.0 / CACHE_FACTOR
    clock.now_s = 3.0
    meter.mark(3.0)
    assert math.isclose(meter.ratio() or math.nan, 1.0 / 2.0)
    clock.now_s = 101.0
    assert math.isclose(meter.ratio() or math.nan, 1.0 / 100.0)


def test_old_marks_are_forgotten(clock: Clock) -> None:
    meter = Meter(recent=1)
    for at_s in (0.0, 10.0, 20.0):
        meter.mark(at_s)
    clock.now_s, meter.own_s = 40.0, 2.0 / CACHE_FACTOR
    assert math.isclose(meter.ratio() or math.nan, 2.0 / 28.0)
