"""The source over real sockets, against a server that behaves and misbehaves like an agent."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path

import pytest
from agent_double import GREETING, HELLO, LAYOUT, frames, sample, saying, serving, until

from tuimon.attach import transport
from tuimon.attach.ask import ask
from tuimon.attach.errors import Garbled, NoAgent, NoAnswer, OtherUser, StaleSocket, WrongProtocol
from tuimon.attach.events import Connected, Disconnected, Ended
from tuimon.attach.mailbox import Mailbox
from tuimon.attach.source import Backoff, Source
from tuimon.attach.transport import UnixTransport
from tuimon.records.layout import Layout
from tuimon.records.sample import Bye, Sample
from tuimon.wire.commands import Cadence, Subscribe, encode_command
from tuimon.wire.unix import ForeignPeer, bind_unix

BYE = Bye("finished", 9, 1009.0)
SOON = Backoff(1e-4, 1e-3)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "7-7.sock"


def followed(path: Path, box: Mailbox) -> Source:
    source = Source(UnixTransport(path, 7), box.put, lambda: True, backoff=SOON)
    source.start()
    return source


def test_a_training_is_followed_to_its_end(path: Path) -> None:
    box = Mailbox()
    stream = GREETING + frames(*(sample(index) for index in range(1, 100)), BYE)
    with serving(path, saying(*(stream[i : i + 777] for i in range(0, len(stream), 777)))) as server:
        source = followed(path, box)
        events = until(box, Ended)
        assert source.join(30.0)
    assert events[:3] == [Connected(), HELLO, LAYOUT]
    assert [event.index for event in events if isinstance(event, Sample)] == list(range(1, 100))
    assert events[-2:] == [BYE, Ended("finished")]
    assert server.commands == [Subscribe()]


def test_a_network_that_dies_costs_nothing_but_time(path: Path) -> None:
    def serve(connection: socket.socket, served: int) -> None:
        past = frames(*(sample(index) for index in range(1, 10 * served + 1)))
        end = frames(BYE) if served == 3 else past[:50]
        connection.sendall(GREETING + past + end)

    box = Mailbox()
    with serving(path, serve):
        source = followed(path, box)
        events = until(box, Ended)
        assert source.join(30.0)
    assert [event.index for event in events if isinstance(event, Sample)] == list(range(1, 31))
    assert sum(isinstance(event, Disconnected) for event in events) == 2


def test_an_agent_that_comes_back_is_found_again(path: Path) -> None:
    box = Mailbox()
    with serving(path, lambda connection, _: connection.sendall(GREETING)):
        source = followed(path, box)
        until(box, Layout)
    until(box, Disconnected)  # nobody listens any more
    with serving(path, saying(GREETING + frames(sample(1), BYE))):
        assert sample(1) in until(box, Ended)
        assert source.join(30.0)


def test_stopping_wakes_a_source_that_waits_for_a_slow_training(path: Path) -> None:
    box = Mailbox()
    with serving(path, saying(GREETING)):
        source = followed(path, box)
        until(box, Layout)
        source.stop()
        assert source.join(0.0)
    assert box.drain() == []


def test_commands_reach_the_agent(path: Path) -> None:
    received, arrived = bytearray(), threading.Event()
    expected = encode_command(Cadence(every=3))

    def serve(connection: socket.socket, _: int) -> None:
        connection.sendall(GREETING)
        while len(received) < len(expected):
            received.extend(connection.recv(4096))
        arrived.set()

    box = Mailbox()
    with serving(path, serve):
        source = followed(path, box)
        until(box, Layout)
        assert source.send(Cadence(every=3))
        assert arrived.wait(30.0)
        source.stop()
    assert bytes(received) == expected


def test_an_agent_that_never_reads_does_not_hold_up_who_sends(path: Path) -> None:
    box = Mailbox()
    leave = threading.Event()

    def serve(connection: socket.socket, _: int) -> None:
        connection.sendall(GREETING)
        leave.wait(30.0)

    with serving(path, serve):
        source = followed(path, box)
        until(box, Layout)
        while source.send(Cadence(every=3)):  # until the kernel's buffer is full
            pass
        source.stop()
        leave.set()


def test_a_command_that_is_taken_in_part_breaks_the_connection() -> None:
    near, far = socket.socketpair()
    connection = transport.UnixConnection(near)
    with far, pytest.raises(ConnectionError, match="takes no commands"):
        connection.send(bytes(64 * 1024 * 1024))
    connection.close()


def test_no_descriptor_and_no_thread_is_left_behind(path: Path) -> None:
    def held() -> tuple[int, int]:
        return len(os.listdir("/proc/self/fd")), threading.active_count()

    before = held()
    for _ in range(5):
        box = Mailbox()
        with serving(path, lambda connection, _: connection.sendall(GREETING)):
            source = followed(path, box)
            until(box, Disconnected)
            source.stop()
    assert held() == before


def test_asking_gives_who_and_where(path: Path) -> None:
    with serving(path, saying(GREETING + frames(sample(41)))) as server:
        assert ask(UnixTransport(path, 7)) == (HELLO, 41)
    assert server.commands == [Subscribe(histograms=False, history=False)]


@pytest.mark.parametrize("leaves", [True, False], ids=["leaves", "stays"])
def test_asking_an_agent_that_has_seen_no_step(path: Path, leaves: bool) -> None:
    serve = (lambda connection, _: connection.sendall(GREETING)) if leaves else saying(GREETING)
    with serving(path, serve):
        assert ask(UnixTransport(path, 7), hello_timeout_s=30.0, sample_timeout_s=0.001) == (HELLO, None)


@pytest.mark.parametrize(
    ("stream", "error"),
    [
        (b"\x01\0\0\0x", Garbled),
        (frames(LAYOUT), Garbled),
        (frames(HELLO).replace(b'"v":1', b'"v":9'), WrongProtocol),
    ],
    ids=["garbage", "no hello", "another version"],
)
def test_asking_what_cannot_be_understood(path: Path, stream: bytes, error: type[Exception]) -> None:
    with serving(path, saying(stream)), pytest.raises(error, match="process 7"):
        ask(UnixTransport(path, 7), hello_timeout_s=30.0)


def test_asking_an_agent_that_never_answers(path: Path) -> None:
    with serving(path, saying()), pytest.raises(NoAnswer, match="process 7 did not answer"):
        ask(UnixTransport(path, 7), hello_timeout_s=0.001)


def test_asking_an_agent_that_hangs_up(path: Path) -> None:
    with serving(path, lambda *_: None), pytest.raises(Garbled, match="before a Hello"):
        ask(UnixTransport(path, 7))


def test_every_failure_to_connect_has_a_name(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NoAgent, match=r"not inside process 7.*tuimon attach 7"):
        UnixTransport(path, 7).open()
    bind_unix(path).close()
    with pytest.raises(StaleSocket, match="has stopped listening"):
        UnixTransport(path, 7).open()
    for failure, error in (
        (ForeignPeer(0), OtherUser),
        (PermissionError(), OtherUser),
        (TimeoutError(), NoAnswer),
    ):

        def fail(*_: object, failure: OSError = failure) -> socket.socket:
            raise failure

        monkeypatch.setattr(transport, "connect_unix", fail)
        with pytest.raises(error, match="process 7"):
            UnixTransport(path, 7).open()
