"""One request to an agent: leave the training."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from tuimon.attach.ask import records, told_apart
from tuimon.attach.transport import Connection, Transport
from tuimon.records.hello import Hello
from tuimon.records.sample import Bye, Notice
from tuimon.wire.commands import Detach, Subscribe, encode_command
from tuimon.wire.errors import BadFrame

#: Enough for an agent that waits for the end of a step, gives up waiting, and says goodbye to all.
LEAVE_TIMEOUT_S = 15.0


@dataclass(frozen=True, slots=True)
class Farewell:
    """How an agent left."""

    #: The run's name.
    name: str
    #: The agent's last record; None where it hung up without a word.
    bye: Bye | None
    #: What else it said on its way out.
    notices: tuple[str, ...] = ()


def send_away(
    transport: Transport,
    hello_timeout_s: float = 5.0,
    leave_timeout_s: float = LEAVE_TIMEOUT_S,
    clock: Callable[[], float] = time.monotonic,
) -> Farewell:
    """Ask the agent behind `transport` to leave its training, and wait until it has.

    It leaves at the end of the step that runs, or after a few seconds without one.

    Raises:
        AttachError: it cannot be asked, or did not answer in time, and why.
        OSError: the connection broke.
    """
    with told_apart(transport.pid, hello_timeout_s + leave_timeout_s):
        connection = transport.open()
        try:
            connection.send(encode_command(Subscribe(histograms=False, history=False)))
            return _last_words(connection, (hello_timeout_s, leave_timeout_s), clock)
        finally:
            connection.close()


def _last_words(
    connection: Connection, timeouts_s: tuple[float, float], clock: Callable[[], float]
) -> Farewell:
    name, notices = None, []
    for record in records(connection, timeouts_s, clock):
        match record:
            case Hello() if name is None:
                name = record.name
                connection.send(encode_command(Detach()))
            case Notice():
                notices.append(record.text)
            case Bye() if name is not None:
                return Farewell(name, record, tuple(notices))
    if name is None:
        raise BadFrame("the connection ended before a Hello")
    return Farewell(name, None, tuple(notices))
