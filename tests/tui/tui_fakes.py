"""A source without a thread, a clock that stands still, and rules whose words never change."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache

from bench.synthetic_run import START_S, SyntheticRun
from tuimon.attach.events import Connected, Event
from tuimon.records.alert import Severity
from tuimon.records.sample import Sample
from tuimon.rules.rule import HEALTHY, Abstain, Explanation, Finding, Findings, Firing, Rule, Stage, Verdict
from tuimon.rules.view import View as Past
from tuimon.session.session import Session
from tuimon.tui.app import MonitorApp
from tuimon.tui.look import Look, dark

EXPLAIN = Explanation("", "", (), ())


class Quiet:
    """A source that says only what a test makes it say."""

    def __init__(self, deliver: Callable[[Event], None]) -> None:
        self.deliver = deliver
        self.started = self.stopped = False

    def start(self) -> None:
        self.started = True

    def stop(self) -> None:
        self.stopped = True


def _dead(past: Past, firing: Firing) -> Verdict:
    series = past.scalar("dead_window")
    if not len(series) or not series.measured[-1] or series.values[-1] < 8:
        return Abstain("only 3 observed batches of 8")
    if past.sample.step < DYING.dies_at + 200:
        return HEALTHY
    return Findings((Finding(
        ("blocks.5.mlp.act",), "62 % of 1536 units silent for 128 observed batches",
        {"dead_ratio": 0.62, "window": 128, "normal": "below 0.25"},
        "Lower the learning rate, or warm it up for longer. Then try a leaky activation.",
        since_step=DYING.dies_at,
    ),))  # fmt: skip


def _frozen(past: Past, firing: Firing) -> Verdict:
    if past.sample.step < 300:
        return HEALTHY
    return Findings((Finding(
        ("embed.position",), "frozen by design: requires_grad is False", {}, "Nothing to do.", since_step=1,
    ),))  # fmt: skip


def _abstains(past: Past, firing: Firing) -> Verdict:
    return Abstain("the learning rate lies on the device")


def rule(name: str, severity: Severity, judge: Callable[[Past, Firing], Verdict]) -> Rule:
    return Rule(name, Stage.FORWARD, (), severity, 1, 1, judge, EXPLAIN)


RULES = (
    rule("nonfinite", Severity.CRITICAL, lambda past, firing: HEALTHY),
    rule("exploding_gradient", Severity.CRITICAL, lambda past, firing: HEALTHY),
    rule("lr_too_high", Severity.WARNING, _abstains),
)
SICK_RULES = (
    rule("dead_neurons", Severity.CRITICAL, _dead), rule("param_not_updated", Severity.INFO, _frozen), *RULES,
)  # fmt: skip

HEALTHY_RUN = SyntheticRun()
DYING = SyntheticRun(dying=5, dies_at=900)


class Clock:
    """Unix time that moves when it is told to."""

    def __init__(self, now_s: float = START_S) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s


def events(run: SyntheticRun, count: int) -> list[Event]:
    return [Connected(), run.hello, run.layout, *(_sample(run, index) for index in range(1, count + 1))]


@cache
def _sample(run: SyntheticRun, index: int) -> Sample:
    return run.sample(index)


def session_of(said: Iterable[Event], rules: Iterable[Rule] = RULES, clock: Clock | None = None) -> Session:
    """A session that was told these events; the clock ends a moment after the last sample."""
    clock = clock or Clock()
    session = Session(rules, clock)
    for event in said:
        session.apply(event)
    if session.last is not None:
        clock.now_s = session.last.time_s + 0.1
    return session


def app_of(session: Session, clock: Clock, look: Look | None = None) -> MonitorApp:
    return MonitorApp(Quiet, "4711", session=session, look=look or dark(), clock=clock, paint_s=0.0)


def shown(app: MonitorApp) -> list[str]:
    """The screen's lines as they are."""
    return [strip.text for strip in app.screen._compositor.render_strips()]
