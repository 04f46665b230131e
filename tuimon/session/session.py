"""The state of one followed run, without a screen: what is drawn and what `--json` prints."""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from tuimon.attach.events import Connected, Disconnected, Ended, Entering, Event
from tuimon.records.alert import Alert
from tuimon.records.criterion import Evaluation
from tuimon.records.hello import Hello
from tuimon.records.layout import Layout
from tuimon.records.sample import Bye, Log, Notice, Sample
from tuimon.records.trial import Trial
from tuimon.rules.catalogue import ALL_RULES
from tuimon.rules.engine import Engine
from tuimon.rules.judgement import Judgement
from tuimon.rules.rule import Rule
from tuimon.session.change import (
    AlertChanged,
    Change,
    Compared,
    ConnectionChanged,
    Evaluated,
    FellSilent,
    Introduced,
    Left,
    Logged,
    Noticed,
    Sampled,
)
from tuimon.session.connection import ConnectionState, Status
from tuimon.session.history import History
from tuimon.session.silence import LEAST_S, Silence, silence

#: The newest records of each kind that are kept to be read again.
_LOGS, _NOTICES = 1024, 256

#: Newest observed steps whose median time is the usual one.
_USUAL = 20


class Session:
    """One run, event by event. Not thread-safe: one thread calls everything.

    `clock` gives Unix time where the training runs, in seconds; it is asked when the connection changes
    and for how long nothing was heard, and nowhere else.
    """

    def __init__(self, rules: Iterable[Rule] = ALL_RULES, clock: Callable[[], float] = time.time) -> None:
        self._rules = tuple(rules)
        self._clock = clock
        self._engine = Engine(self._rules)
        self._last_index = 0
        self._introduced = False
        #: What was observed.
        self.history = History()
        #: Samples taken into account, thinned ones included.
        self.samples = 0
        self.logs: deque[Log] = deque(maxlen=_LOGS)
        self.notices: deque[Notice] = deque(maxlen=_NOTICES)
        #: What is known of the cost of watching by measurement; None when nobody asked.
        self.trial: Trial | None = None
        #: The agent's farewell; None while it observes.
        self.bye: Bye | None = None
        self.connection = ConnectionState("connecting", clock())
        self._heard_s: float | None = None
        self._told_silent_s = 0.0

    @property
    def hello(self) -> Hello | None:
        """What is being trained; None before the agent said it."""
        return self.history.hello

    @property
    def layout(self) -> Layout | None:
        """Names of layers and tensors; None before the first layout."""
        return self.history.layout

    @property
    def last(self) -> Sample | None:
        """The newest sample; None before the first."""
        return self.history.sample if self.samples else None

    @property
    def alerts(self) -> tuple[Alert, ...]:
        """Alerts that fire: most severe first, then in causal order."""
        return self._engine.active

    @property
    def past_alerts(self) -> tuple[Alert, ...]:
        """Alerts that were resolved, oldest first."""
        return self._engine.past

    @property
    def judgements(self) -> Mapping[str, Judgement]:
        """Where each rule stands after the newest sample, by rule id."""
        return self._engine.judgements

    def digest(self) -> dict[str, dict[str, object]]:
        """What fired so far, by rule: see `Engine.digest`."""
        return self._engine.digest()

    def apply(self, event: Event) -> list[Change]:
        """Take one event into account and tell what it changed, in order."""
        if isinstance(event, Sample | Log | Evaluation | Trial | Notice):
            self._heard_s = max(event.time_s, self._heard_s or event.time_s)
            self._told_silent_s = 0.0
        match event:
            case Sample():
                return self._sample(event)
            case Entering():
                return self._connection("connecting", event.told)
            case Connected():
                return self._connection("live")
            case Disconnected():
                # After its farewell the agent hangs up: that is an end, not a trouble.
                if self.bye is not None:
                    return self._connection("ended", self.bye.reason)
                return self._connection("reconnecting", event.reason, event.retry_in_s)
            case Ended():
                return [*self._introduce(), *self._connection("ended", event.reason)]
            case Hello():
                return self._hello(event)
            case Layout():
                return self._layout(event)
            case Log():
                self.history.add_log(event)
                self.logs.append(event)
                return [Logged(event)]
            case Evaluation():
                self.history.add_evaluation(event)
                return [Evaluated(event)]
            case Trial():
                self.trial = event
                return [Compared(event)]
            case Notice():
                self.notices.append(event)
                return [Noticed(event)]
            case Bye():
                self.bye = event
                return [*self._introduce(), Left(event)]

    def silence(self) -> Silence | None:
        """For how long no step was seen, if that is much longer than usual and the training can be heard."""
        if self.connection.status != "live":
            return None
        # Not before one listens: two machines' clocks may differ by anything.
        since_s = self.connection.since_s
        silent_s = self._clock() - (since_s if self._heard_s is None else max(since_s, self._heard_s))
        if silent_s < LEAST_S:
            return None
        last = self.last
        steps = self.history.scalar("step_s", _USUAL).present.values.tolist()
        step_s = statistics.median(steps) if steps else None
        return silence(silent_s, step_s, last.every if last else 1, last.step if last else None)

    def beat(self) -> list[Change]:
        """What the passing of time alone changed; to be called now and then while nothing comes."""
        silent = self.silence()
        if silent is None or silent.silent_s < 2.0 * self._told_silent_s:
            return []
        self._told_silent_s = silent.silent_s
        return [*self._introduce(), FellSilent(silent)]

    def _connection(
        self, status: Status, reason: str | None = None, retry_in_s: float | None = None
    ) -> list[Change]:
        self.connection = ConnectionState(status, self._clock(), reason, retry_in_s)
        return [ConnectionChanged(self.connection)]

    def _hello(self, hello: Hello) -> list[Change]:
        before = self.history.hello
        if before is not None and (before.pid, before.started_s) != (hello.pid, hello.started_s):
            self._start_over()
        self.history.hello = hello
        self.bye = None
        # Before the layout there is little to show; it follows at once.
        if self.layout is None or (before is not None and _introduction(hello) == _introduction(before)):
            return []
        self._introduced = True
        return [Introduced(hello, self.layout)]

    def _layout(self, layout: Layout) -> list[Change]:
        if layout == self.layout:
            return []
        self.history.add_layout(layout)
        if self.hello is None:
            return []
        self._introduced = True
        return [Introduced(self.hello, layout)]

    def _introduce(self) -> list[Change]:
        """The introduction that is still owed when the training goes on, or leaves, without a layout."""
        if self._introduced or self.hello is None:
            return []
        self._introduced = True
        return [Introduced(self.hello, self.layout)]

    def _sample(self, sample: Sample) -> list[Change]:
        # After a reconnect the agent tells its past again.
        if sample.index <= self._last_index:
            return []
        self._last_index = sample.index
        self.samples += 1
        self.history.add_sample(sample)
        news = self._engine.judge(self.history)
        return [*self._introduce(), Sampled(sample), *(AlertChanged(alert) for alert in news)]

    def _start_over(self) -> None:
        """Another process, or another watch, answers at this place: nothing of the past is its own."""
        self.history = History()
        self._engine = Engine(self._rules)
        self._last_index = self.samples = 0
        self._heard_s = None
        self._introduced, self.trial = False, None
        self.logs.clear()
        self.notices.clear()


def _introduction(hello: Hello) -> Hello:
    """What a person is told of it: optimizers are found one by one and are no news."""
    return replace(hello, optimizers=())
