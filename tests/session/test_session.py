"""A session: events in, changes out, nothing twice, and the agreed JSON lines."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.rules.synthetic_runs import HELLO, Run, perceptron
from tuimon.attach.events import Connected, Disconnected, Ended, Event
from tuimon.records.criterion import Evaluation
from tuimon.records.layout import TensorKind
from tuimon.records.sample import Bye, Log, Notice, Sample
from tuimon.session.change import (
    AlertChanged,
    Change,
    ConnectionChanged,
    FellSilent,
    Introduced,
    Left,
    Sampled,
)
from tuimon.session.follow import follow
from tuimon.session.jsonlines import dumps, event_lines
from tuimon.session.session import Session

LAYOUT = perceptron(2)


def session(clock: Callable[[], float] = lambda: 7.0) -> Session:
    return Session(clock=clock)


def sample(index: int, **fields: object) -> Sample:
    given = {"time_s": float(index), "loss": 1.0, **fields}
    return Sample(index, index, layout=LAYOUT.id, **given)  # type: ignore[arg-type]


def apply(to: Session, *events: Event) -> list[Change]:
    return [change for event in events for change in to.apply(event)]


def kinds(changes: list[Change]) -> list[str]:
    return [type(change).__name__ for change in changes]


def test_the_connection_goes_through_its_states() -> None:
    times = iter(range(1, 100))
    s = session(lambda: float(next(times)))
    states = [s.connection]
    for event in (Connected(), Disconnected("gone", 0.5), Connected(), Ended("killed")):
        s.apply(event)
        states.append(s.connection)
    assert [(state.status, state.reason, state.since_s) for state in states] == [
        ("connecting", None, 1.0), ("live", None, 2.0), ("reconnecting", "gone", 3.0), ("live", None, 4.0),
        ("ended", "killed", 5.0),
    ]  # fmt: skip
    assert states[2].retry_in_s == 0.5


def test_introduced_once_with_its_layers() -> None:
    s = session()
    changes = apply(s, Connected(), HELLO, LAYOUT, sample(1), Connected(), HELLO, LAYOUT)
    assert kinds(changes) == ["ConnectionChanged", "Introduced", "Sampled", "ConnectionChanged"]
    found = replace(HELLO, optimizers=("SGD", "Adam"))
    assert apply(s, found) == [] and s.hello == found
    assert kinds(apply(s, replace(found, parameters=5))) == ["Introduced"]


@pytest.mark.parametrize("last", [sample(1), Bye("finished"), Ended("killed")])
def test_introduced_even_without_a_layout(last: Event) -> None:
    changes = apply(session(), HELLO, last)
    assert changes[0] == Introduced(HELLO, None)


def test_what_the_agent_tells_again_after_a_reconnect_is_not_taken_twice() -> None:
    s = session()
    apply(s, HELLO, LAYOUT, sample(1), sample(2), Disconnected("", 0.1), Connected(), HELLO, LAYOUT)
    assert apply(s, sample(1), sample(2)) == []
    assert kinds(apply(s, sample(3))) == ["Sampled"]
    assert s.samples == 3 and s.history.steps.tolist() == [1, 2, 3]
    assert s.last is not None and s.last.step == 3


def test_another_process_at_the_same_place_starts_over() -> None:
    s = session()
    apply(s, HELLO, LAYOUT, sample(9), Log(9, 0.0, {"a": 1.0}), replace(HELLO, pid=99), LAYOUT, sample(1))
    assert s.samples == 1 and s.history.steps.tolist() == [1] and not s.logs


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def heard(clock: Clock, *samples: Sample) -> Session:
    """A session that follows a training, its clock at the newest sample."""
    s = session(clock)
    apply(s, Connected(), HELLO, LAYOUT, *samples)
    clock.now_s = samples[-1].time_s if samples else 0.0
    return s


def test_a_training_that_makes_no_step_is_said_to_once_and_again_when_it_lasts() -> None:
    clock = Clock()
    s = heard(clock, *(sample(index, step_s=0.3) for index in range(1, 9)), sample(9, step_s=90.0))
    told = []
    for now_s in range(9, 9 + 100):
        clock.now_s = float(now_s)
        told += [change.silence for change in s.beat() if isinstance(change, FellSilent)]
    assert [(silence.silent_s, silence.usual_s, silence.step) for silence in told] == [
        (20.0, 0.3, 9), (40.0, 0.3, 9), (80.0, 0.3, 9),
    ]  # fmt: skip
    assert told[1].in_words().startswith("no step for 40 s (usually 0.3 s): it may wait for data")
    apply(s, sample(10, time_s=109.0))
    assert s.silence() is None
    assert s.beat() == []


def test_steps_that_usually_take_long_are_given_their_time() -> None:
    clock = Clock()
    s = heard(clock, sample(1, step_s=12.0), sample(2, step_s=12.0))
    clock.now_s = 2.0 + 119.0
    assert s.silence() is None
    clock.now_s = 2.0 + 120.0
    assert s.silence() is not None


def test_silence_between_observed_steps_is_no_silence_of_the_training() -> None:
    clock = Clock()
    s = heard(clock, sample(50, time_s=50.0, step_s=0.3, every=50))
    clock.now_s = 50.0 + 149.0
    assert s.silence() is None
    clock.now_s = 50.0 + 150.0
    (told,) = s.beat()
    assert isinstance(told, FellSilent)
    assert told.silence.in_words().startswith("no observed step for 2 min (usually one in 15 s)")


def test_a_validation_and_the_trainings_own_words_are_signs_of_life() -> None:
    for sign in (Evaluation(1, 19.0, 3), Log(1, 19.0, {"a": 1.0}), Notice(1, 19.0, "hm")):
        clock = Clock()
        s = heard(clock, sample(1, step_s=0.3))
        apply(s, sign)
        clock.now_s = 38.0
        assert s.silence() is None
        clock.now_s = 39.0
        assert s.silence() is not None


def test_a_training_that_is_not_heard_is_not_called_silent() -> None:
    clock = Clock()
    s = heard(clock, sample(1, step_s=0.3))
    apply(s, Disconnected("gone", 1.0))
    clock.now_s = 1000.0
    assert s.silence() is None
    apply(s, Connected())  # at 1000: what was before, nobody has listened to
    assert s.silence() is None
    clock.now_s = 1020.0
    assert s.silence() is not None


def test_before_the_first_step_there_is_no_usual() -> None:
    clock = Clock()
    s = heard(clock)
    clock.now_s = 25.0
    (told,) = s.beat()
    assert isinstance(told, FellSilent)
    assert (told.silence.usual_s, told.silence.step) == (None, None)
    assert told.silence.in_words().startswith("no step for 25 s: it may")
    assert event_lines(s, told) == {"event": "silence", "step": None, "silent_s": 25.0, "usual_s": None}


def test_logs_and_notices_are_kept() -> None:
    s = session()
    log, notice = Log(3, 0.0, {"val_loss": 0.5}), Notice(4, 0.0, "gave up")
    assert kinds(apply(s, log, notice)) == ["Logged", "Noticed"]
    assert list(s.logs) == [log] and list(s.notices) == [notice]
    assert s.history.scalar("val_loss").newest == 0.5


def test_hanging_up_after_the_farewell_is_the_end() -> None:
    s = session()
    apply(s, Connected(), HELLO, LAYOUT, Bye("closed", 5), Disconnected("the connection ended", 0.1))
    assert (s.connection.status, s.connection.reason) == ("ended", "closed")
    apply(s, Connected(), HELLO)
    assert s.bye is None and s.connection.status == "live"


def lines_of(run: Run, *events: Event, tensors: bool = False) -> list[dict[str, object]]:
    changes = apply(run.session, *events)
    lines = [event_lines(run.session, change, tensors) for change in changes]
    return [line for line in lines if line is not None]


#: The names of design.md. Users and scripts rely on them: more may come, none may go.
NAMES = {
    "hello": {"event", "pid", "name", "parameters", "layers", "device", "torch", "probes"},
    "sample": {"event", "step", "time", "loss", "lr", "grad_norm", "grad_norm_preclip", "step_s",
               "overhead_ratio"},
    "tensor": {"name", "kind", "n", "nan", "inf", "zero", "norm", "min", "max", "update_ratio", "dead_ratio",
               "saturated_ratio"},
    "alert": {"event", "rule", "state", "severity", "step", "since_step", "where", "summary", "evidence",
              "advice"},
    "bye": {"event", "reason", "alerts"},
}  # fmt: skip


def test_the_lines_carry_the_agreed_names() -> None:
    run = Run(LAYOUT)
    run.healthy(5)
    (hello,) = lines_of(Run(perceptron(1)), perceptron(2))
    run.step(math.nan, bad=[(TensorKind.GRADIENT, "fc0.weight")])
    table = run.session.history.sample.tensors
    line, *alerts = lines_of(run, sample(7, loss=math.nan, tensors=table), tensors=True)
    (bye,) = lines_of(run, Bye("finished"))
    (alert,) = [event_lines(run.session, AlertChanged(each)) for each in run.session.alerts]
    assert alert is not None and not alerts
    tensors = line["tensors"]
    assert isinstance(tensors, list)
    got = {"hello": hello, "sample": line, "tensor": tensors[1], "alert": alert, "bye": bye}
    for name, names in NAMES.items():
        assert names <= set(got[name]), name
    assert [got[name]["event"] for name in ("hello", "sample", "alert", "bye")] == [
        "hello",
        "sample",
        "alert",
        "bye",
    ]
    assert hello["layers"] == ["fc0", "act0", "fc1", "act1"]
    assert {tensor["kind"] for tensor in tensors} <= {kind.value for kind in TensorKind}
    assert alert["state"] == "firing" and alert["severity"] == "critical"
    assert bye["alerts"] == run.session.digest() and "nonfinite" in run.session.digest()


def test_not_measured_is_null_and_nan_stays_nan() -> None:
    run = Run(LAYOUT)
    (line,) = lines_of(run, sample(1, loss=None, lr=(None, 0.1)))
    text = json.loads(dumps(line))
    assert (text["loss"], text["lr"], text["grad_norm_preclip"]) == (None, [None, 0.1], None)
    assert "tensors" not in line
    (line, *_) = lines_of(run, sample(2, loss=math.nan))
    assert math.isnan(json.loads(dumps(line))["loss"])


def test_everything_in_a_line_is_json() -> None:
    run = Run(LAYOUT)
    run.healthy(12, dead={"act0": 1.0})
    run.step(math.nan, bad=[(TensorKind.ACTIVATION, "fc0"), (TensorKind.GRADIENT, "fc0.weight")])
    assert {alert.rule for alert in run.news} >= {"dead_neurons", "nonfinite"}
    for alert in run.news:
        line = event_lines(run.session, AlertChanged(alert))
        assert line is not None
        # As text, since NaN equals nothing.
        assert dumps(json.loads(dumps(line))) == dumps(line)


def test_a_killed_training_gets_its_bye_from_the_session_and_only_then() -> None:
    killed, finished = Run(LAYOUT), Run(LAYOUT)
    assert lines_of(killed, Ended("the process is gone"))[-1] == {
        "event": "bye", "reason": "the process is gone", "alerts": {},
    }  # fmt: skip
    lines = lines_of(finished, Bye("finished"), Ended("finished"))
    assert [line["event"] for line in lines] == ["bye"]
    for change in (ConnectionChanged(finished.session.connection), Left(Bye("x"))):
        event_lines(finished.session, change)


class Scripted:
    """A source that delivers what it was given, from a thread of its own."""

    def __init__(self, deliver: Callable[[Event], None], events: list[Event]) -> None:
        self.thread = threading.Thread(target=lambda: [deliver(event) for event in events])
        self.stopped = False

    def start(self) -> None:
        self.thread.start()

    def stop(self) -> None:
        self.thread.join()
        self.stopped = True


def test_follow_yields_every_change_and_stops_the_source() -> None:
    events: list[Event] = [
        Connected(),
        HELLO,
        LAYOUT,
        sample(1),
        sample(2),
        Bye("finished"),
        Ended("finished"),
    ]
    sources: list[Scripted] = []

    def open_source(deliver: Callable[[Event], None]) -> Scripted:
        sources.append(Scripted(deliver, events))
        return sources[0]

    changes = list(follow(session(), open_source))
    assert kinds(changes) == [
        "ConnectionChanged", "Introduced", "Sampled", "Sampled", "Left", "ConnectionChanged",
    ]  # fmt: skip
    assert sources[0].stopped


def test_follow_tells_of_a_silence_in_which_nothing_comes() -> None:
    clock = Clock()
    s = session(clock)

    def later() -> bool:
        clock.now_s = 30.0 if s.samples else 0.0
        return False

    following = follow(s, lambda deliver: Scripted(deliver, [Connected(), HELLO, LAYOUT, sample(1)]), later)
    assert any(isinstance(change, FellSilent) for change in following)
    following.close()  # type: ignore[attr-defined]


def test_follow_stops_when_told_and_when_closed() -> None:
    endless: list[Event] = [Connected(), HELLO, LAYOUT, *(sample(i) for i in range(1, 50))]
    sources: list[Scripted] = []

    def open_source(deliver: Callable[[Event], None]) -> Scripted:
        sources.append(Scripted(deliver, endless))
        return sources[-1]

    first = session()
    for _ in follow(first, open_source, lambda: first.samples >= 3):
        pass
    assert first.samples == 3
    second = follow(session(), open_source)
    assert any(isinstance(change, Sampled) for change in second)
    second.close()  # type: ignore[attr-defined]
    assert all(source.stopped for source in sources)
