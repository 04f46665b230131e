"""Stand-ins for an agent: the frames it sends, and a server that sends them over a real socket."""

from __future__ import annotations

import contextlib
import socket
import threading
from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tuimon.attach.mailbox import Mailbox
from tuimon.records.hello import Hello
from tuimon.records.layout import LayerInfo, Layout, TensorInfo, TensorKind
from tuimon.records.sample import Sample
from tuimon.records.tensors import TensorTable
from tuimon.wire.codec import encode
from tuimon.wire.commands import Command, decode_command
from tuimon.wire.framing import Decoder
from tuimon.wire.unix import bind_unix

HELLO = Hello(
    pid=7,
    name="train",
    host="here",
    user="someone",
    command=("python", "train.py"),
    started_s=1000.0,
    parameters=6,
    trainable_parameters=6,
    devices=("cpu",),
    dtypes=("float32",),
    python="3.11.0",
    torch="2.13.0",
    tuimon="0.1.0",
)
LAYOUT = Layout(
    1,
    (LayerInfo("encoder", "Linear"),),
    (TensorInfo("encoder.weight", TensorKind.WEIGHT, 0), TensorInfo("encoder.bias", TensorKind.WEIGHT, 0)),
)


def table(rows: Sequence[int]) -> TensorTable:
    k = len(rows)
    return TensorTable(
        array("i", rows), array("q", [1] * 6 * k), array("d", [0.5] * 4 * k), array("d", [0.5] * 3 * k),
        array("B", [7] * k), array("q", [1] * k), array("q", [0] * k), array("h", [-4] * k),
        array("h", [1] * k), array("I", [1] * (2 * k)),
    )  # fmt: skip


def sample(index: int, **fields: Any) -> Sample:
    """The sample of that number, a second after the one before."""
    given = {"step": index, "time_s": 1000.0 + index, "layout": 1, "tensors": table([0, 1]), **fields}
    return Sample(index=index, **given)


def frames(*records: Any) -> bytes:
    return b"".join(encode(record) for record in records)


#: What every connection of a well-behaved agent begins with.
GREETING = frames(HELLO, LAYOUT)


def until(mailbox: Mailbox, kind: type[Any], limit: int = 10_000) -> list[Any]:
    """Events up to the first of that kind. A guard against hanging, no measurement: 30 s."""
    events = []
    for _ in range(limit):
        event = mailbox.get(timeout_s=30.0)
        assert event is not None, f"no {kind.__name__} after {events[-3:]}"
        events.append(event)
        if isinstance(event, kind):
            return events
    raise AssertionError(f"no {kind.__name__} among {limit} events")


class Server:
    """Listens like an agent; `serve` is called with each connection that subscribes."""

    def __init__(self, path: Path, serve: Callable[[socket.socket, int], None]) -> None:
        self.commands: list[Command] = []
        self._serve = serve
        self._socket = bind_unix(path)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="agent-double")
        self._thread.start()

    def _run(self) -> None:
        served = 0
        while not self._stopping.is_set():
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection, contextlib.suppress(ConnectionError):
                command = self._first_command(connection)
                if command is not None:  # a probe connects and leaves
                    self.commands.append(command)
                    served += 1
                    self._serve(connection, served)

    def _first_command(self, connection: socket.socket) -> Command | None:
        decoder = Decoder()
        while chunk := connection.recv(4096):
            for payload in decoder.feed(chunk):
                return decode_command(payload)
        return None

    def close(self) -> None:
        self._stopping.set()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()


@contextlib.contextmanager
def serving(path: Path, serve: Callable[[socket.socket, int], None]) -> Iterator[Server]:
    server = Server(path, serve)
    try:
        yield server
    finally:
        server.close()


def saying(*chunks: bytes) -> Callable[[socket.socket, int], None]:
    """Send the chunks, then wait until the viewer leaves."""

    def serve(connection: socket.socket, _: int) -> None:
        for chunk in chunks:
            connection.sendall(chunk)
        while connection.recv(4096):
            pass

    return serve
