"""The source against scripted connections: every way a conversation can go."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from agent_double import GREETING, HELLO, LAYOUT, frames, sample, table
from hypothesis import given
from hypothesis import strategies as st

from tuimon.attach.errors import NoAgent, NoAnswer, OtherUser, StaleSocket
from tuimon.attach.events import Connected, Disconnected, Ended, Event
from tuimon.attach.source import Backoff, Source
from tuimon.attach.transport import FakeTransport, Script, Silence
from tuimon.records.criterion import Criterion, Evaluation
from tuimon.records.layout import Layout
from tuimon.records.record import Record
from tuimon.records.sample import Bye, Log, Notice, Sample
from tuimon.wire.commands import Cadence, Detach, Subscribe, encode_command
from tuimon.wire.envelope import WIRE_VERSION, pack

BYE = Bye("finished", 9, 1009.0)
AT_ONCE = Backoff(0.0, 0.0)


def lives(times: int) -> Callable[[], bool]:
    """A process that is found alive that often, and then is gone."""
    left = iter([True] * times)
    return lambda: next(left, False)


def follow(*scripts: Script, alive: Callable[[], bool] | None = None, **options: Any) -> list[Event]:
    """All events until the source is done."""
    events: list[Event] = []
    options = {"backoff": AT_ONCE, **options}
    source = Source(FakeTransport(*scripts), events.append, alive or lives(len(scripts) - 1), **options)
    source.start()
    assert source.join(30.0)
    return events


def reasons(events: list[Event]) -> list[str]:
    return [event.reason for event in events if isinstance(event, Disconnected)]


def test_a_training_from_its_greeting_to_its_goodbye() -> None:
    events = follow([GREETING + frames(sample(1), sample(2), BYE)])
    assert events == [Connected(), HELLO, LAYOUT, sample(1), sample(2), BYE, Ended("finished")]


@given(st.integers(1, 500))
def test_the_chunks_make_no_difference(size: int) -> None:
    stream = GREETING + frames(sample(1), BYE)
    chunks = [stream[i : i + size] for i in range(0, len(stream), size)]
    assert follow(chunks) == [Connected(), HELLO, LAYOUT, sample(1), BYE, Ended("finished")]


@pytest.mark.parametrize("subscribe", [Subscribe(), Subscribe(histograms=False, history=False)])
def test_the_first_words_are_the_subscription(subscribe: Subscribe) -> None:
    transport = FakeTransport([frames(HELLO, BYE)])
    source = Source(transport, lambda _: None, lives(0), subscribe=subscribe)
    source.start()
    assert source.join(30.0)
    assert transport.connections[0].sent == [encode_command(subscribe)]
    assert transport.connections[0].closed


def test_the_past_is_told_once_though_it_comes_twice() -> None:
    log, notice = Log(1, 1001.5, {"val_loss": float("nan")}), Notice(1, 1001.6, "cadence 1 to 2")
    evaluation = Evaluation(1, 1001.7, 4, 0.5, (Criterion("mse_loss", float("nan")),))
    said = (sample(1), log, notice, evaluation, sample(2))
    events = follow([GREETING + frames(*said)], [GREETING + frames(*said, sample(3), BYE)])
    told = [event for event in events if isinstance(event, Sample | Log | Notice | Evaluation)]
    assert [repr(event) for event in told] == [repr(r) for r in (*said, sample(3))]
    assert [type(event) for event in events if isinstance(event, Connected | Disconnected | Ended)] == [
        Connected,
        Disconnected,
        Connected,
        Ended,
    ]


def test_a_second_agent_of_the_same_process_begins_anew() -> None:
    second = replace(HELLO, started_s=2000.0)
    events = follow([GREETING + frames(sample(1), second, LAYOUT, sample(1), BYE)])
    assert [event for event in events if isinstance(event, Sample)] == [sample(1), sample(1)]


def test_a_better_introduction_does_not_begin_anew() -> None:
    better = replace(HELLO, optimizers=("AdamW",))
    events = follow([GREETING + frames(sample(1), better, sample(1), sample(2), BYE)])
    assert [event for event in events if isinstance(event, Sample)] == [sample(1), sample(2)]


def test_equal_words_at_different_times_are_told_twice() -> None:
    a, b = Log(1, 1001.0, {"x": 1.0}), Log(1, 1002.0, {"x": 1.0})
    events = follow([GREETING + frames(a, b, BYE)])
    assert [event for event in events if isinstance(event, Log)] == [a, b]


def test_records_of_later_versions_are_passed_over() -> None:
    events = follow([pack("future", {"x": 1}) + GREETING + pack("future", {}) + frames(BYE)])
    assert events == [Connected(), HELLO, LAYOUT, BYE, Ended("finished")]


def test_a_process_that_is_gone_ends_the_story() -> None:
    events = follow([GREETING + frames(sample(1))], alive=lives(0))
    assert events[-1] == Ended("the training process has ended")
    assert reasons(events) == []


def test_a_record_cut_off_is_told_apart_from_an_end() -> None:
    events = follow([GREETING], [GREETING + frames(sample(1))[:-1]], [frames(HELLO, BYE)])
    assert reasons(events) == ["the connection ended", "the connection ended in the middle of a record"]


def test_another_version_ends_it_and_names_both() -> None:
    other = frames(HELLO).replace(b'"v":%d' % WIRE_VERSION, b'"v":9')
    events = follow([other], [GREETING])
    (ended,) = events
    assert isinstance(ended, Ended)
    assert "version 9" in ended.reason
    assert f"this side version {WIRE_VERSION}" in ended.reason


def test_an_agent_that_never_answers_is_asked_again() -> None:
    events = follow([Silence()], [GREETING[:10], Silence()], [frames(HELLO, BYE)], hello_timeout_s=5.0)
    assert len(reasons(events)) == 2
    assert all("did not answer within 5 s" in reason for reason in reasons(events))
    assert events[-1] == Ended("finished")


def test_an_agent_that_dribbles_is_not_waited_for_for_ever() -> None:
    clock = itertools.count().__next__  # a second passes with every look at it
    dribble = [bytes([byte]) for byte in GREETING]
    events = follow(dribble, [frames(HELLO, BYE)], clock=clock)
    (reason,) = reasons(events)
    assert "did not answer within 5 s" in reason
    assert events[-1] == Ended("finished")


def test_silence_after_the_greeting_is_a_slow_training() -> None:
    transport = FakeTransport([GREETING, Silence()])
    greeted = threading.Event()
    events: list[Event] = []

    def deliver(event: Event) -> None:
        events.append(event)
        if isinstance(event, Layout):
            greeted.set()

    source = Source(transport, deliver, lives(9), backoff=AT_ONCE)
    source.start()
    assert greeted.wait(30.0)
    source.stop()
    assert source.join(0.0)
    assert events == [Connected(), HELLO, LAYOUT]
    assert transport.connections[0].closed


def test_garbage_is_forgiven_twice() -> None:
    garbage: list[bytes | Silence | OSError] = [GREETING + b"\x05\0\0\0hello"]
    events = follow(garbage, garbage, [frames(HELLO, BYE)])
    assert events[-1] == Ended("finished")
    events = follow(garbage, garbage, garbage, [frames(HELLO, BYE)])
    assert isinstance(events[-1], Ended)
    assert "sends what cannot be read" in events[-1].reason
    assert len(reasons(events)) == 2


INVALID: list[tuple[list[Any], str]] = [
    ([LAYOUT], "begins with a Layout"),
    ([HELLO, sample(1)], "layout 1, which was never sent"),
    ([HELLO, LAYOUT, sample(1, tensors=table([0, 2]))], "not ascending below 2"),
    ([HELLO, LAYOUT, sample(1, tensors=table([1, 0]))], "not ascending"),
    ([HELLO, LAYOUT, sample(1, tensors=table([0, 0]))], "not ascending"),
    ([HELLO, LAYOUT, sample(1, step=-1)], "`int` >= 0 - at `$.step`"),
    ([HELLO, LAYOUT, sample(1, step="one")], "got `str` - at `$.step`"),
    ([HELLO, LAYOUT, sample(1, lr=("x",))], "got `str` - at `$.lr[0]`"),
    ([HELLO, LAYOUT, sample(1, rss_bytes=2**63)], "at `$.rss_bytes`"),
    ([HELLO, replace(LAYOUT, layers=())], "a layout of 0 layers"),
    ([HELLO, Notice(1, 1.0, "x" * 100_000)], "at `$.text`"),
    ([replace(HELLO, every=True)], "got `bool`"),
]


@pytest.mark.parametrize(("records", "why"), INVALID, ids=[why for _, why in INVALID])
def test_values_that_cannot_be_are_refused_at_the_border(records: list[Record], why: str) -> None:
    events = follow([frames(*records)], [frames(HELLO, BYE)])
    (reason,) = reasons(events)
    assert why in reason


def test_a_sample_without_rows_needs_no_layout() -> None:
    bare = sample(1, layout=0, tensors=table([]))
    assert bare in follow([frames(HELLO, bare, BYE)])


@pytest.mark.parametrize(
    ("failure", "why"),
    [
        (StaleSocket(7, "/run/7-7.sock"), "process 7 has stopped listening at /run/7-7.sock"),
        (NoAgent(7), "not inside process 7"),
        (NoAnswer(7, 5.0), "did not answer"),
        (ConnectionResetError("reset"), "broke: reset"),
    ],
)
def test_a_connection_that_cannot_be_had_is_tried_again(failure: Any, why: str) -> None:
    events = follow(failure, [frames(HELLO, BYE)])
    assert isinstance(events[0], Disconnected)
    assert why in events[0].reason
    assert events[1:] == [Connected(), HELLO, BYE, Ended("finished")]


def test_a_connection_that_breaks_is_tried_again() -> None:
    events = follow([GREETING, ConnectionResetError("reset by peer")], [frames(HELLO, BYE)])
    assert reasons(events) == ["the connection broke: reset by peer"]


def test_another_users_agent_is_not_asked_again() -> None:
    events = follow(OtherUser(7, "root"), [GREETING])
    assert events == [Ended("process 7 belongs to user root; run tuimon as root")]


def test_waiting_grows_until_something_new_comes() -> None:
    nothing_new: list[bytes | Silence | OSError] = [GREETING + frames(sample(1))]
    news: list[bytes | Silence | OSError] = [GREETING + frames(sample(1), sample(2))]
    backoff = Backoff(first_s=1e-5, cap_s=4e-5)
    events = follow(*[nothing_new] * 5, news, [frames(HELLO, BYE)], backoff=backoff)
    delays = [event.retry_in_s for event in events if isinstance(event, Disconnected)]
    assert delays == [1e-5, 2e-5, 4e-5, 4e-5, 4e-5, 1e-5]


@given(st.integers(1, 10_000))
def test_waiting_never_shrinks_and_has_a_cap(failures: int) -> None:
    backoff = Backoff()
    assert backoff.first_s <= backoff.delay_s(failures) <= backoff.delay_s(failures + 1) <= backoff.cap_s


def test_stopping_from_within_delivery_makes_it_the_last_event() -> None:
    events: list[Event] = []

    def deliver(event: Event) -> None:
        events.append(event)
        if isinstance(event, Sample):
            source.stop()

    source = Source(FakeTransport([GREETING + frames(sample(1), sample(2), BYE)]), deliver, lives(9))
    source.start()
    assert source.join(30.0)
    assert events[-1] == sample(1)


def test_stopping_while_waiting_to_try_again_is_immediate() -> None:
    told = threading.Event()
    source = Source(FakeTransport(), lambda _: told.set(), lives(9), backoff=Backoff(1e6, 1e6))
    source.start()
    assert told.wait(30.0)
    source.stop()
    assert source.join(0.0)


def test_commands_go_out_while_there_is_a_connection() -> None:
    transport = FakeTransport([GREETING, Silence()])
    greeted = threading.Event()
    source = Source(transport, lambda e: greeted.set() if e == LAYOUT else None, lives(9))
    assert not source.send(Detach())
    source.start()
    assert greeted.wait(30.0)
    assert source.send(Cadence(every=5))
    assert transport.connections[0].sent == [encode_command(Subscribe()), encode_command(Cadence(every=5))]
    source.stop()
    assert not source.send(Detach())


def test_no_thread_is_left_behind() -> None:
    follow([GREETING + frames(BYE)])
    assert not any(thread.name == "tuimon-source" for thread in threading.enumerate())
