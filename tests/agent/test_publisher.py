"""The publisher towards viewers that behave, lag, break off, and talk nonsense."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from agent_double import HELLO, LAYOUT, sample, until
from viewing import (
    BYE,
    PATIENCE_S,
    Commands,
    Viewer,
    gone,
    past,
    publishing,
    threads,
    until_true,
)

from tuimon.agent.publishing import listener
from tuimon.agent.publishing import publisher as publisher_module
from tuimon.agent.publishing.publisher import BATCH, PACE_S, PENDING, Publisher
from tuimon.agent.publishing.server import CONNECTIONS, Server
from tuimon.attach.events import Ended
from tuimon.attach.mailbox import Mailbox
from tuimon.attach.source import Source
from tuimon.attach.transport import UnixTransport
from tuimon.records.hello import Hello
from tuimon.records.layout import Layout
from tuimon.records.sample import Bye, Log, Notice, Sample
from tuimon.wire.codec import encode
from tuimon.wire.commands import Cadence, Command, Detach, Subscribe, encode_command
from tuimon.wire.framing import length_prefix
from tuimon.wire.unix import ForeignPeer, connect_unix


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "sockets"


def test_a_late_viewer_sees_the_past_then_the_present_then_the_end(directory: Path) -> None:
    said = [sample(1), Log(1, 1001.5, {"accuracy": 0.5}), Notice(1, 1001.5, "by the way"), sample(2)]
    with publishing(directory) as publisher:
        for record in said:
            publisher.publish(record)
        with Viewer(publisher.path) as viewer:
            assert viewer.until_sample(2) == [HELLO, LAYOUT, *said]
            assert publisher.viewers == 1
            publisher.publish(sample(3))
            assert viewer.next() == sample(3)
            publisher.close(BYE)
            assert viewer.rest() == [BYE]


def test_what_the_viewer_side_makes_of_it(directory: Path) -> None:
    box = Mailbox()
    with publishing(directory, archive=past(sample(index) for index in range(1, 101))) as publisher:
        source = Source(UnixTransport(publisher.path, HELLO.pid), box.put, lambda: True)
        source.start()
        events = until(box, Sample)
        while not (isinstance(events[-1], Sample) and events[-1].index == 100):
            events += until(box, Sample)
        publisher.close(BYE)
        events += until(box, Ended)
    assert source.join(PATIENCE_S)
    assert [event.index for event in events if isinstance(event, Sample)] == list(range(1, 101))
    assert events[-2:] == [BYE, Ended("finished")]


@pytest.mark.parametrize("following", [[], [replace(LAYOUT, id=2)]], ids=["in use", "newer"])
def test_without_history_a_viewer_begins_at_the_newest(directory: Path, following: list[Any]) -> None:
    archive = past(sample(index) for index in range(1, 41))
    for record in following:
        archive.append(record)
    with (
        publishing(directory, archive=archive) as publisher,
        Viewer(publisher.path, Subscribe(history=False)) as viewer,
    ):
        assert viewer.next() == HELLO
        publisher.publish(sample(41))
        assert viewer.until_sample(41) == [LAYOUT, sample(40), *following, *_again(following), sample(41)]


def _again(following: list[Any]) -> list[Any]:
    """The older layout once more, where a newer one was told since and a sample refers to the older."""
    return [LAYOUT] if following else []


def test_without_history_and_without_samples_the_layout_is_told(directory: Path) -> None:
    with publishing(directory) as publisher, Viewer(publisher.path, Subscribe(history=False)) as viewer:
        assert [viewer.next(), viewer.next()] == [HELLO, LAYOUT]


def test_histograms_are_left_out_for_whom_does_not_want_them(directory: Path) -> None:
    with (
        publishing(directory) as publisher,
        Viewer(publisher.path, Subscribe(histograms=False)) as light,
        Viewer(publisher.path) as full,
    ):
        publisher.publish(sample(3))
        bare = light.until_sample(3)[-1]
        assert full.until_sample(3)[-1] == sample(3)
    assert isinstance(bare, Sample)
    assert bare == replace(sample(3), tensors=sample(3).tensors.without_histograms())


def test_a_sample_whose_layout_never_came_is_told_to_nobody(directory: Path) -> None:
    with publishing(directory) as publisher, Viewer(publisher.path) as viewer:
        publisher.publish(replace(sample(1), layout=9))
        publisher.publish(sample(2))
        assert viewer.until_sample(2) == [HELLO, LAYOUT, sample(2)]


def test_a_layout_that_is_published_again_is_told_once(directory: Path) -> None:
    with publishing(directory) as publisher:
        for record in (sample(1), LAYOUT, sample(2)):
            publisher.publish(record)
        with Viewer(publisher.path) as viewer:
            assert viewer.until_sample(2) == [HELLO, LAYOUT, sample(1), sample(2)]


def test_a_changed_introduction_is_given_again(directory: Path) -> None:
    introduction = [HELLO]
    publisher = Publisher(lambda: introduction[-1], Commands(), directory)
    publisher.start()
    changed = replace(HELLO, optimizers=("Adam",))
    with Viewer(publisher.path) as viewer:
        assert viewer.next() == HELLO
        introduction.append(changed)
        publisher.greet()
        assert viewer.next() == changed
        publisher.publish(changed)
        assert viewer.next() == changed
        publisher.close(BYE)
        assert viewer.rest() == [BYE]


@pytest.mark.parametrize("pace_s", [0.0, PACE_S])
def test_what_is_published_after_a_pause_wakes_the_thread(
    directory: Path, monkeypatch: pytest.MonkeyPatch, pace_s: float
) -> None:
    monkeypatch.setattr(publisher_module, "PACE_S", pace_s)
    with publishing(directory, check_s=1000.0) as publisher, Viewer(publisher.path) as viewer:
        viewer.next()
        for index in range(1, 30):
            publisher.publish(sample(index))
            viewer.until_sample(index)


@pytest.mark.parametrize("watched", [True, False])
def test_the_thread_looks_by_itself_only_for_viewers(
    directory: Path, monkeypatch: pytest.MonkeyPatch, watched: bool
) -> None:
    waits, wakes = [], []
    wait, wake = Server.wait, Server.wake
    monkeypatch.setattr(Server, "wait", lambda self, s: (waits.append(s), wait(self, s)))
    monkeypatch.setattr(Server, "wake", lambda self: (wakes.append(1), wake(self)))
    archive = past([])
    with (
        publishing(directory, check_s=1000.0, archive=archive) as publisher,
        contextlib.ExitStack() as stack,
    ):
        viewer = stack.enter_context(Viewer(publisher.path)) if watched else None
        if viewer is not None:
            viewer.next()
        for index in range(1, 10 * BATCH + 1):
            publisher.publish(sample(index))
        if viewer is not None:
            viewer.until_sample(1)
            until_true(lambda: PACE_S in waits)
        else:
            until_true(lambda: archive.last_sequence > BATCH)
            assert len(wakes) <= 10
        publisher.close(BYE)
    assert (PACE_S in waits) == watched


def test_what_was_sent_is_held_by_nobody_but_the_archive(directory: Path) -> None:
    archive = past([sample(1)])
    serving = Server(archive, lambda: encode(HELLO), Commands(), directory, check_s=1.0)
    with Viewer(serving.path) as viewer:
        serving.wait(PATIENCE_S)  # comes in
        serving.wait(PATIENCE_S)  # subscribes
        newest = archive.newest_sample
        assert newest is not None
        before = sys.getrefcount(newest.frame)
        serving.serve()
        assert viewer.until_sample(1)[-1] == sample(1)
        after = sys.getrefcount(newest.frame)  # not in the assert, which holds what it compares
    serving.close()
    assert after == before


def test_what_is_published_too_late_is_not_kept(directory: Path) -> None:
    late = sample(1)
    before = sys.getrefcount(late)
    with publishing(directory) as publisher:
        publisher.close(BYE)
        publisher.publish(late)
        after = sys.getrefcount(late)
    assert after == before


@pytest.mark.parametrize(
    "nonsense",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        length_prefix(5) + b"\0\0\0\0\0",
        length_prefix(5000),
        encode_command(Detach()).replace(b'"v":1', b'"v":9'),
        encode_command(Cadence(every=7)).replace(b"7", b"0"),
    ],
    ids=["http", "garbage", "too long", "another version", "impossible"],
)
def test_nonsense_closes_the_connection_it_came_by_and_no_other(directory: Path, nonsense: bytes) -> None:
    commands = Commands()
    with publishing(directory, commands) as publisher, Viewer(publisher.path) as bystander:
        with connect_unix(publisher.path) as other:
            other.sendall(nonsense)
            assert gone(other)
        publisher.publish(sample(1))
        assert bystander.until_sample(1)[-1] == sample(1)
        assert publisher.viewers == 1
    assert commands.given == []


def test_a_command_may_come_in_pieces_or_not_at_all(directory: Path) -> None:
    commands = Commands()
    frame = encode_command(Cadence(every=3))
    with publishing(directory, commands) as publisher, Viewer(publisher.path) as viewer:
        with connect_unix(publisher.path) as breaking_off:
            breaking_off.sendall(frame[:20])
        for i in range(len(frame)):
            viewer.say(frame[i : i + 1])
        commands.wait_for(1)
        viewer.say(encode_command(Subscribe(history=False)))  # again: changes what is sent, starts nothing
        viewer.say(length_prefix(26) + b'\x16\0\0\0{"v":1,"type":"later"}')  # of a later version
        viewer.say(encode_command(Cadence(budget_ratio=0.5)))
        commands.wait_for(2)
        assert publisher.viewers == 1
        publisher.publish(sample(1))
        assert viewer.until_sample(1) == [HELLO, LAYOUT, sample(1)]
    assert commands.given == [Cadence(every=3), Cadence(budget_ratio=0.5)]


def test_a_viewer_may_end_it_all(directory: Path) -> None:
    def leave(command: Command) -> None:
        assert command == Detach()
        publisher.close(Bye("closed"))

    with publishing(directory, leave) as publisher, Viewer(publisher.path) as viewer:
        assert [viewer.next(), viewer.next()] == [HELLO, LAYOUT]
        viewer.say(encode_command(Detach()))
        assert viewer.rest() == [Bye("closed")]


def test_those_who_only_look_whether_somebody_listens_are_no_viewers(directory: Path) -> None:
    with publishing(directory) as publisher, Viewer(publisher.path) as viewer:
        for _ in range(3 * CONNECTIONS):
            connect_unix(publisher.path).close()
        viewer.until(lambda record: isinstance(record, Layout))
        assert publisher.viewers == 1
        assert publisher.last_departure_s is None


def test_departures_are_noticed(directory: Path) -> None:
    with publishing(directory) as publisher:
        viewer = Viewer(publisher.path)
        viewer.next()
        assert (publisher.viewers, publisher.last_departure_s) == (1, None)
        viewer.leave()
        until_true(lambda: publisher.viewers == 0)
        assert publisher.last_departure_s is not None


def test_connections_are_limited_and_room_comes_back(directory: Path) -> None:
    with publishing(directory) as publisher:
        held = [Viewer(publisher.path) for _ in range(CONNECTIONS)]
        for viewer in held:
            assert viewer.next() == HELLO
        with connect_unix(publisher.path) as further:
            assert gone(further)
        held.pop().leave()
        until_true(lambda: publisher.viewers == CONNECTIONS - 1)
        with Viewer(publisher.path) as again:
            assert again.next() == HELLO
        for viewer in held:
            viewer.leave()


def test_another_user_is_turned_away(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: socket.socket) -> None:
        raise ForeignPeer(12345)

    with publishing(directory) as publisher:
        monkeypatch.setattr(listener, "check_peer", refuse)
        with connect_unix(publisher.path) as stranger:
            assert gone(stranger)
        monkeypatch.undo()
        with Viewer(publisher.path) as viewer:
            assert viewer.next() == HELLO


def test_what_does_not_encode_is_told_once_and_the_rest_goes_on(directory: Path) -> None:
    bad: Any = {"accuracy": object()}
    with publishing(directory) as publisher, Viewer(publisher.path) as viewer:
        for step in (1, 2):
            publisher.publish(Log(step, 0.0, bad))
        publisher.publish(sample(3))
        told = viewer.until_sample(3)
    (notice,) = (record for record in told if isinstance(record, Notice))
    assert notice.step == 1
    assert notice.text == "a Log could not be sent: object does not travel"


def test_a_thread_that_is_held_up_costs_samples_and_nothing_else(directory: Path) -> None:
    entered, free = threading.Event(), threading.Event()

    def hold_up(_: Command) -> None:
        entered.set()
        assert free.wait(PATIENCE_S)

    with publishing(directory, hold_up) as publisher, Viewer(publisher.path) as viewer:
        viewer.until(lambda record: isinstance(record, Layout))
        viewer.say(encode_command(Cadence(every=1)))
        assert entered.wait(PATIENCE_S)
        said: list[Any] = []
        for index in range(1, 10 * PENDING):
            publisher.publish(sample(index))
            if index % PENDING == 0:
                said.append(Notice(index, 0.0, "still here"))
                publisher.publish(said[-1])
        free.set()
        told = viewer.until(lambda record: record == said[-1])
    assert [record for record in told if isinstance(record, Notice)] == said
    assert [r.index for r in told if isinstance(r, Sample)] == list(range(1, PENDING + 1))


def test_an_error_of_the_agent_ends_the_thread_and_nothing_else(directory: Path) -> None:
    def broken() -> Hello:
        raise ValueError("no such thing\nas a second line")

    publisher = Publisher(broken, Commands(), directory)
    publisher.start()
    path = publisher.path
    with Viewer(path) as viewer:
        assert viewer.rest() == []
    until_true(lambda: not threads())
    assert publisher.failed == "ValueError: no such thing"
    assert not path.exists()
    publisher.publish(LAYOUT)
    publisher.greet()
    publisher.close(BYE)
    assert publisher.viewers == 0
