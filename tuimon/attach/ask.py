"""One question to an agent: who are you, and how far are you?"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tuimon.attach.errors import Garbled, NoAnswer, WrongProtocol
from tuimon.attach.transport import Connection, Transport, left_s
from tuimon.attach.validation import Validator
from tuimon.records.hello import Hello
from tuimon.records.record import Record
from tuimon.records.sample import Sample
from tuimon.wire.codec import decode
from tuimon.wire.commands import Subscribe, encode_command
from tuimon.wire.errors import BadFrame, WrongVersion
from tuimon.wire.framing import Decoder


def ask(
    transport: Transport,
    hello_timeout_s: float = 1.0,
    sample_timeout_s: float = 0.25,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[Hello, int | None]:
    """Who trains behind `transport`, and the step of its newest sample; None if it does not tell.

    Raises:
        AttachError: no answer can be had, and why.
        OSError: the connection broke.
    """
    with told_apart(transport.pid, hello_timeout_s):
        connection = transport.open()
        try:
            connection.send(encode_command(Subscribe(histograms=False, history=False)))
            return _answer(connection, (hello_timeout_s, sample_timeout_s), clock)
        finally:
            connection.close()


@contextmanager
def told_apart(pid: int | None, timeout_s: float) -> Iterator[None]:
    """What may go wrong in a short conversation, as the errors that a person is told.

    Raises:
        AttachError: `NoAnswer`, `Garbled` or `WrongProtocol`.
    """
    try:
        yield
    except WrongVersion as error:
        raise WrongProtocol(pid, str(error)) from None
    except BadFrame as error:
        raise Garbled(pid, str(error)) from None
    except TimeoutError:
        raise NoAnswer(pid, timeout_s) from None


def _answer(
    connection: Connection, timeouts_s: tuple[float, float], clock: Callable[[], float]
) -> tuple[Hello, int | None]:
    hello: Hello | None = None
    try:
        for record in records(connection, timeouts_s, clock):
            if isinstance(record, Hello):
                hello = record
            elif hello is None:
                raise BadFrame(f"it begins with a {type(record).__name__}, not with a Hello")
            elif isinstance(record, Sample):
                return hello, record.step
    except TimeoutError:
        if hello is None:
            raise
    if hello is None:
        raise BadFrame("the connection ended before a Hello")
    return hello, None


def records(
    connection: Connection, timeouts_s: tuple[float, float], clock: Callable[[], float]
) -> Iterator[Record]:
    """What comes until the end, or until one of the two times is up: to the first record, and after it.

    Raises:
        TimeoutError: the time is up.
        WireError: what came is no record.
        OSError: the connection broke.
    """
    decoder, validator = Decoder(), Validator()
    first_s, more_s = timeouts_s
    deadline_s, answered = clock() + first_s, False
    while chunk := connection.recv(left_s(deadline_s, clock)):
        for payload in decoder.feed(chunk):
            record = decode(payload)
            if record is None:
                continue
            validator.check(record)
            if not answered:
                deadline_s, answered = clock() + more_s, True
            yield record
