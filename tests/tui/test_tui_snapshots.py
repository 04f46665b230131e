"""Pictures, to be looked at when they change: the same data, the same clock, nothing that blinks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from tui_fakes import DYING, HEALTHY_RUN, RULES, SICK_RULES, Clock, app_of, events, session_of

from tuimon.attach.events import Connected, Disconnected, Event
from tuimon.records.criterion import Criterion, Evaluation
from tuimon.records.sample import Sample, StepTimes
from tuimon.session.session import Session
from tuimon.tui.app import MonitorApp

Compare = Callable[..., bool]
SIZES = pytest.mark.parametrize("size", [(80, 24), (160, 48)], ids=["80x24", "160x48"])


def _sick() -> MonitorApp:
    clock = Clock()
    return app_of(session_of(events(DYING, 400), SICK_RULES, clock), clock)


@SIZES
def test_a_healthy_run(snap_compare: Compare, size: tuple[int, int]) -> None:
    clock = Clock()
    app = app_of(session_of(events(HEALTHY_RUN, 400), RULES, clock), clock)
    assert snap_compare(app, terminal_size=size)


@SIZES
def test_a_critical_alert(snap_compare: Compare, size: tuple[int, int]) -> None:
    assert snap_compare(_sick(), terminal_size=size)


@SIZES
def test_a_classifier_with_validation(snap_compare: Compare, size: tuple[int, int]) -> None:
    clock = Clock()
    app = app_of(session_of(_validated(), RULES, clock), clock)
    assert snap_compare(app, terminal_size=size)


def _validated() -> Iterator[Event]:
    """The healthy run as four microbatches a step, with a validation pass at each tenth sample."""
    for event in events(HEALTHY_RUN, 400):
        if not isinstance(event, Sample):
            yield event
            continue
        right = min(90, 20 + event.index // 5)
        term = Criterion("cross_entropy", event.loss, classes=10, n=100, judged=100, correct=right)
        yield replace(event, criteria=(term,), microbatches=4, loss_divisor=4)
        if event.index % 10 == 0 and event.loss is not None:
            worse = replace(term, value=event.loss + event.index / 1000, correct=right - 12)
            yield Evaluation(event.step, event.time_s, 5, criteria=(worse,))


@SIZES
def test_disconnected(snap_compare: Compare, size: tuple[int, int]) -> None:
    app = _sick()
    clock = app.view.clock
    assert isinstance(clock, Clock)
    clock.now_s += 12
    app.session.apply(Disconnected("the connection ended", 1.6))
    assert snap_compare(app, terminal_size=size)


@SIZES
def test_values_that_were_not_measured(snap_compare: Compare, size: tuple[int, int]) -> None:
    clock = Clock()
    session = Session(RULES, clock)
    for event in (Connected(), HEALTHY_RUN.hello, HEALTHY_RUN.layout):
        session.apply(event)
    for index in range(1, 60):
        session.apply(HEALTHY_RUN.sample(
            index, loss=None, lr=(None,), grad_norm_preclip=None, rss_bytes=None, cuda_bytes=None,
            overhead_ratio=None, times=StepTimes(forward_s=0.01),
        ))  # fmt: skip
    clock.now_s = HEALTHY_RUN.sample(59).time_s
    assert snap_compare(app_of(session, clock), terminal_size=size)


@SIZES
def test_connecting(snap_compare: Compare, size: tuple[int, int]) -> None:
    clock = Clock()
    assert snap_compare(app_of(Session(RULES, clock), clock), terminal_size=size)


@SIZES
def test_one_layer(snap_compare: Compare, size: tuple[int, int]) -> None:
    assert snap_compare(_sick(), terminal_size=size, press=["slash", *"5.mlp.up", "enter", "enter"])


@SIZES
def test_all_layers_unfolded(snap_compare: Compare, size: tuple[int, int]) -> None:
    assert snap_compare(_sick(), terminal_size=size, press=["f"])


def test_help(snap_compare: Compare) -> None:
    assert snap_compare(_sick(), terminal_size=(80, 24), press=["question_mark"])


def test_alerts(snap_compare: Compare) -> None:
    assert snap_compare(_sick(), terminal_size=(80, 24), press=["e"])
