"""The far half of an attach from elsewhere: one greeting, then bytes, until either side leaves."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from agent_double import GREETING, frames, sample, saying, serving

from tuimon.attach.elsewhere.greeting import find_greeting
from tuimon.attach.elsewhere.relay import relay
from tuimon.attach.errors import NoAgent
from tuimon.attach.transport import FakeTransport, UnixTransport
from tuimon.version import __version__
from tuimon.wire.commands import Subscribe, encode_command


class Ends:
    """The relay's standard input and output, and the other ends of them."""

    def __init__(self) -> None:
        self.source, self.speak = os.pipe()
        self.hear, self.sink = os.pipe()

    def all_heard(self) -> bytes:
        heard = b""
        while chunk := os.read(self.hear, 65536):
            heard += chunk
        return heard

    def close(self, *names: str) -> None:
        for name in names or ("source", "speak", "hear", "sink"):
            if getattr(self, name) >= 0:
                os.close(getattr(self, name))
                setattr(self, name, -1)


@pytest.fixture
def ends() -> Iterator[Ends]:
    made = Ends()
    yield made
    made.close("speak")
    for thread in threading.enumerate():
        if thread.name == "tuimon-relay":  # it reads until the viewer has left
            thread.join(30.0)
    made.close()


def test_the_greeting_says_who_and_then_come_the_agents_own_bytes(ends: Ends) -> None:
    transport = FakeTransport([GREETING, frames(sample(1))])
    transport.pid = 7
    relay(transport, 12345, ends.source, ends.sink)
    ends.close("sink")
    found = find_greeting(ends.all_heard())
    assert found is not None
    greeting, rest = found
    assert (greeting.pid, greeting.started_ticks, greeting.tuimon) == (7, 12345, __version__)
    assert greeting.time_s is not None
    assert rest == GREETING + frames(sample(1))
    assert transport.connections[0].closed


def test_commands_arrive_and_a_viewer_that_leaves_ends_it(ends: Ends, tmp_path: Path) -> None:
    path = tmp_path / "7-7.sock"
    with serving(path, saying(GREETING)) as server:
        running = threading.Thread(target=relay, args=(UnixTransport(path, 7), 1, ends.source, ends.sink))
        running.start()
        os.write(ends.speak, encode_command(Subscribe(histograms=False)))
        heard = b""
        while not heard.endswith(GREETING):
            heard += os.read(ends.hear, 65536)
        assert server.commands == [Subscribe(histograms=False)]
        ends.close("speak")
        running.join(30.0)
        assert not running.is_alive()


def test_a_viewer_that_takes_nothing_more_ends_it(ends: Ends) -> None:
    ends.close("hear")
    transport = FakeTransport([GREETING])
    with pytest.raises(BrokenPipeError):
        relay(transport, 1, ends.source, ends.sink)
    assert transport.connections == [] or transport.connections[0].closed


def test_no_agent_is_said_to_the_other_side(ends: Ends) -> None:
    with pytest.raises(NoAgent):
        relay(FakeTransport(NoAgent(7)), 1, ends.source, ends.sink)
    ends.close("sink")
    found = find_greeting(ends.all_heard())
    assert found is not None
    greeting, rest = found
    assert greeting.kind == "NoAgent"
    assert greeting.what is not None and "not inside process 7" in greeting.what
    assert greeting.remedy
    assert rest == b""
