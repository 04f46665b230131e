"""The far half of `tuimon attach HOST:PID`: copies frames between stdio and an agent's socket."""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress

from tuimon.attach.elsewhere.greeting import refusal, welcome
from tuimon.attach.errors import AttachError
from tuimon.attach.transport import Connection, Transport
from tuimon.version import __version__

#: Commands of a viewer are some 80 bytes.
_COMMAND_BYTES = 4096


def relay(transport: Transport, started_ticks: int, source: int, sink: int) -> None:
    """Greet, then copy both ways until either side ends.

    Args:
        transport: the way to the agent.
        started_ticks: start time of its process.
        source: descriptor that the viewer's commands come from.
        sink: descriptor that the agent's frames go to.

    Raises:
        AttachError: there is no way to the agent. The other side has been told.
        OSError: the connection broke.
    """
    try:
        connection = transport.open()
    except AttachError as error:
        refuse(error, sink)
        raise
    try:
        _write(sink, welcome(transport.pid or 0, started_ticks, time.time(), __version__))
        # A daemon: it may wait for a viewer that neither speaks nor leaves.
        threading.Thread(
            target=_pass_commands, args=(source, connection), name="tuimon-relay", daemon=True
        ).start()
        while chunk := connection.recv():
            _write(sink, chunk)
    finally:
        connection.close()


def refuse(error: AttachError, sink: int) -> None:
    """Tell the other side why one cannot attach here."""
    _write(sink, refusal(error, __version__))


def _pass_commands(source: int, connection: Connection) -> None:
    """Everything the viewer says, until it leaves; then there is nobody to relay for."""
    with suppress(OSError):
        while chunk := os.read(source, _COMMAND_BYTES):
            connection.send(chunk)
    connection.shutdown()


def _write(sink: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(sink, left) :]
