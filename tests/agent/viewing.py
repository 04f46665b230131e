"""A viewer by hand: a socket, and the records that come out of it."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from agent_double import HELLO, LAYOUT

from tuimon.agent.publishing.archive import Archive
from tuimon.agent.publishing.publisher import Publisher
from tuimon.records.record import Record
from tuimon.records.sample import Bye, Sample
from tuimon.wire.codec import decode
from tuimon.wire.commands import Command, Subscribe, encode_command
from tuimon.wire.framing import Decoder
from tuimon.wire.unix import connect_unix

#: A guard against hanging, no measurement.
PATIENCE_S = 30.0
BYE = Bye("finished", 9, 1009.0)


class Viewer:
    """Reads only when asked to."""

    def __init__(self, path: Path, subscribe: Subscribe | None = None) -> None:
        self.socket = connect_unix(path, PATIENCE_S)
        self._decoder = Decoder()
        self._read: list[Record] = []
        self.say(encode_command(subscribe or Subscribe()))

    def say(self, what: bytes) -> None:
        self.socket.sendall(what)

    def next(self) -> Record | None:
        """The next record; None at the end of the stream."""
        while not self._read:
            try:
                chunk = self.socket.recv(1 << 16)
            except ConnectionError:
                chunk = b""
            if not chunk:
                assert not self._decoder.pending_bytes, "the stream ended within a frame"
                return None
            records = [decode(payload) for payload in self._decoder.feed(chunk)]
            self._read += [record for record in records if record is not None]
        return self._read.pop(0)

    def until(self, last: Callable[[Record], bool]) -> list[Record]:
        """Records up to the first that `last` holds for."""
        found: list[Record] = []
        while not found or not last(found[-1]):
            record = self.next()
            assert record is not None, f"the stream ended after {found[-3:]}"
            found.append(record)
        return found

    def until_sample(self, index: int) -> list[Record]:
        return self.until(lambda record: isinstance(record, Sample) and record.index == index)

    def rest(self) -> list[Record]:
        """Everything up to the end of the stream."""
        return list(iter(self.next, None))

    def leave(self) -> None:
        self.socket.close()

    def __enter__(self) -> Viewer:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()


class Commands:
    """What `on_command` was called with; waiting for the n-th call."""

    def __init__(self) -> None:
        self.given: list[Command] = []
        self._changed = threading.Condition()

    def __call__(self, command: Command) -> None:
        with self._changed:
            self.given.append(command)
            self._changed.notify_all()

    def wait_for(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.given) >= count, PATIENCE_S)


@contextlib.contextmanager
def publishing(
    directory: Path, on_command: Callable[[Command], None] | None = None, **options: Any
) -> Iterator[Publisher]:
    """A publisher that has a layout, or the archive given; closed at the end. It must not have failed."""
    publisher = Publisher(lambda: HELLO, on_command or Commands(), directory, **options)
    publisher.start()
    try:
        if "archive" not in options:
            publisher.publish(LAYOUT)
        yield publisher
    finally:
        publisher.close(BYE)
    assert publisher.failed is None
    assert not threads()


def threads() -> list[str]:
    """Names of the publishers' threads that run."""
    return [thread.name for thread in threading.enumerate() if thread.name == "tuimon-publisher"]


def past(samples: Iterable[Sample]) -> Archive:
    """An archive that holds the layout and these samples."""
    archive = Archive()
    archive.append(LAYOUT)
    for one in samples:
        archive.append(one)
    return archive


def gone(connection: socket.socket) -> bool:
    """Whether the other end has closed; waits until it says anything."""
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True


def until_true(condition: Callable[[], bool]) -> None:
    """For what no event tells: ask again and again, gently."""
    pause = threading.Event()
    for _ in range(int(PATIENCE_S * 1000)):
        if condition():
            return
        pause.wait(0.001)
    raise AssertionError("it never came true")
