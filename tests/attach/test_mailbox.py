"""The mailbox: in order, bounded, the newest wins, the past waits."""

from __future__ import annotations

import threading

import pytest
from agent_double import HELLO, LAYOUT, sample
from hypothesis import given
from hypothesis import strategies as st

from tuimon.attach.events import Connected, Ended, Event
from tuimon.attach.mailbox import Mailbox
from tuimon.records.sample import Bye, Log, Notice, Sample

NOW_S = 1000.0  # samples of `agent_double` are later than this
LATER_S = 1e9  # and earlier than this


def mailbox(limit: int, now_s: float = NOW_S) -> Mailbox:
    return Mailbox(limit, clock=lambda: now_s)


def test_events_come_out_as_they_went_in() -> None:
    box = mailbox(10)
    events: list[Event] = [Connected(), HELLO, LAYOUT, sample(1), Bye("closed")]
    for event in events:
        box.put(event)
    assert [box.get() for _ in events] == events
    assert box.get(timeout_s=0.0) is None


@given(st.integers(1, 5), st.integers(0, 20))
def test_of_the_present_the_newest_stay(limit: int, count: int) -> None:
    box = mailbox(limit)
    box.put(Connected())
    for index in range(1, count + 1):
        box.put(sample(index, tensors=None))
    kept = [event.index for event in box.drain() if isinstance(event, Sample)]
    assert kept == list(range(1, count + 1))[-limit:]
    assert box.dropped == max(0, count - limit)


def test_what_is_said_once_is_never_dropped() -> None:
    box = mailbox(1)
    once: list[Event] = [Connected(), HELLO, LAYOUT, Notice(1, 1001.0, "a"), Bye("b"), Ended("c")]
    for index, event in enumerate(once, start=1):
        box.put(event)
        box.put(sample(index))
        box.put(Log(index, 1000.0 + index, {}))
    kept = box.drain()
    assert [event for event in kept if not isinstance(event, Sample | Log)] == once
    assert len(kept) == len(once) + 1


def test_the_past_waits_for_room_and_nothing_of_it_is_lost() -> None:
    box = mailbox(2, now_s=LATER_S)
    sent: list[Event] = [Connected(), *(sample(index) for index in range(1, 50))]

    def send() -> None:
        for event in sent:
            box.put(event)
        box.close()

    thread = threading.Thread(target=send)
    thread.start()
    taken = []
    while (event := box.get(timeout_s=30.0)) is not None:
        taken.append(event)
    thread.join()
    assert taken == sent
    assert box.dropped == 0


def test_the_past_is_not_dropped_for_the_present() -> None:
    box = Mailbox(2, clock=lambda: 1002.5)
    box.put(Connected())
    box.put(sample(1))
    box.put(sample(3))
    box.put(sample(4))
    assert [e.index for e in box.drain() if isinstance(e, Sample)] == [1, 4]


@pytest.mark.parametrize("now_s", [NOW_S, LATER_S])
def test_closing_frees_who_waits(now_s: float) -> None:
    box = mailbox(1, now_s)
    box.put(Connected())
    box.put(sample(1))
    threads = [threading.Thread(target=box.put, args=(sample(2),))]
    empty = mailbox(1)
    threads.append(threading.Thread(target=empty.get))
    for thread in threads:
        thread.start()
    box.close()
    empty.close()
    for thread in threads:
        thread.join(30.0)
        assert not thread.is_alive()
    box.put(Ended("too late"))
    assert not any(isinstance(event, Ended) for event in box.drain())
