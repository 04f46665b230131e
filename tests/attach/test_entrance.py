"""A source that must enter first: what it delivers, and how it is left."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Queue

import pytest
from agent_double import GREETING

from tuimon.attach.events import Connected, Ended, Entering, Event
from tuimon.attach.injection.entrance import Entrance
from tuimon.attach.injection.entry_errors import GivenUp, NoDebugger
from tuimon.attach.source import Source
from tuimon.attach.transport import FakeTransport, Silence
from tuimon.records.hello import Hello
from tuimon.records.layout import Layout
from tuimon.wire.commands import Cadence

Tell = Callable[[str], None]


def test_it_tells_enters_and_follows() -> None:
    events: Queue[Event] = Queue()
    transport = FakeTransport([GREETING, Silence()])

    def enter(_stopped: Callable[[], bool], tell: Tell) -> Source:
        tell("entering process 7")
        return Source(transport, events.put, lambda: True)

    entrance = Entrance(enter, events.put)
    assert not entrance.send(Cadence(every=2))
    entrance.start()
    assert events.get(timeout=60.0) == Entering("entering process 7")
    assert [type(events.get(timeout=60.0)) for _ in range(3)] == [Connected, Hello, Layout]
    assert entrance.send(Cadence(every=2))
    entrance.stop()
    assert events.empty()


def test_what_hinders_it_is_the_end() -> None:
    events: Queue[Event] = Queue()

    def enter(_stopped: Callable[[], bool], _tell: Tell) -> Source:
        raise NoDebugger(7)

    entrance = Entrance(enter, events.put)
    entrance.start()
    assert events.get(timeout=60.0) == Ended(str(NoDebugger(7)))
    entrance.stop()


@pytest.mark.parametrize("late", [False, True])
def test_whoever_leaves_meanwhile_hears_nothing_more(late: bool) -> None:
    events: Queue[Event] = Queue()
    began = threading.Event()
    transport = FakeTransport([GREETING])

    def enter(stopped: Callable[[], bool], _tell: Tell) -> Source:
        began.set()
        while not stopped():
            pass
        if late:  # it succeeded all the same
            return Source(transport, events.put, lambda: True)
        raise GivenUp(7)

    entrance = Entrance(enter, events.put)
    entrance.start()
    began.wait()
    entrance.stop()
    assert events.empty()
    assert transport.connections == []
