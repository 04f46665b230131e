"""The one narrow seam between a viewer and an agent, wherever the agent runs.

A transport opens connections; everything above it (framing, records, reconnecting) is the same
for a local socket, a command's stdio and a test.
"""

from __future__ import annotations

import pwd
import select
import socket
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol, TypeAlias

from tuimon.attach.errors import AttachError, NoAgent, NoAnswer, OtherUser, StaleSocket
from tuimon.wire.unix import ForeignPeer, connect_unix

#: Bytes asked of the kernel at a time; a sample of 600 tensors has some 170 000.
READ_BYTES = 256 * 1024


class Connection(Protocol):
    """A two-way stream of bytes. All methods but `shutdown` and `send` belong to one thread."""

    def recv(self, timeout_s: float | None = None) -> bytes:
        """The next bytes, as many as there are; b"" at the end.

        Raises:
            TimeoutError: none came within `timeout_s`.
            OSError: the connection broke.
        """

    def send(self, frame: bytes) -> None:
        """Send a small frame without ever waiting.

        Raises:
            OSError: the other side is gone, or takes nothing.
        """

    def shutdown(self) -> None:
        """End the stream from any thread: a `recv` that waits returns b""."""

    def close(self) -> None:
        """Give back what the connection holds."""


class Transport(Protocol):
    """A way to one agent."""

    #: The agent's process, for messages; None where it is not known.
    pid: int | None

    def open(self) -> Connection:
        """A new connection.

        Raises:
            AttachError: none can be had, and why.
            OSError: none can be had just now.
        """


def left_s(deadline_s: float, clock: Callable[[], float]) -> float:
    """Time until a deadline, for `Connection.recv`.

    Raises:
        TimeoutError: it has passed; even where bytes wait, so that a trickle cannot put it off.
    """
    left = deadline_s - clock()
    if left <= 0.0:
        raise TimeoutError("the time is up")
    return left


class UnixConnection:
    """A connection over a connected stream socket, which it owns from now on."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._socket.setblocking(False)
        self._readable = select.poll()
        self._readable.register(connected, select.POLLIN)

    def recv(self, timeout_s: float | None = None) -> bytes:
        """See `Connection.recv`."""
        while True:
            with suppress(BlockingIOError):
                return self._socket.recv(READ_BYTES)
            if not self._readable.poll(None if timeout_s is None else timeout_s * 1000.0):
                raise TimeoutError(f"nothing came within {timeout_s:g} s")

    def send(self, frame: bytes) -> None:
        """See `Connection.send`."""
        if self._socket.send(frame) < len(frame):
            raise ConnectionError("the agent takes no commands")

    def shutdown(self) -> None:
        """See `Connection.shutdown`."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """See `Connection.close`."""
        self._socket.close()


class UnixTransport:
    """An agent on this machine, by its socket.

    Args:
        path: the agent's socket.
        pid: the agent's process, for messages.
        owner: its user, where that may be another than this process's (root watches anyone).
        timeout_s: how long to wait for the agent to take the connection.
    """

    def __init__(
        self, path: Path, pid: int | None = None, owner: int | None = None, timeout_s: float = 5.0
    ) -> None:
        self.path = path
        self.pid: int | None = pid
        self._owner = owner
        self._timeout_s = timeout_s

    def open(self) -> UnixConnection:
        """See `Transport.open`."""
        try:
            return UnixConnection(connect_unix(self.path, self._timeout_s, self._owner))
        except FileNotFoundError:
            raise NoAgent(self.pid) from None
        except ConnectionRefusedError:
            raise StaleSocket(self.pid, self.path) from None
        except ForeignPeer as error:
            raise OtherUser(self.pid, user_name(error.uid)) from None
        except PermissionError:
            raise OtherUser(self.pid, self._owner_of_file()) from None
        except (TimeoutError, BlockingIOError):
            raise NoAnswer(self.pid, self._timeout_s) from None

    def _owner_of_file(self) -> str:
        with suppress(OSError):
            return user_name(self.path.lstat().st_uid)
        return "another" if self._owner is None else user_name(self._owner)


def user_name(uid: int) -> str:
    """The user's name, or the number where none is known (another machine's, a container's)."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


class Silence:
    """In a script: nothing comes any more, and the connection stays open."""


#: What one connection of a `FakeTransport` does: chunks in order and then the end, or a failure to open.
Script: TypeAlias = Sequence[bytes | Silence | OSError] | AttachError | OSError


class FakeConnection:
    """Plays a script; keeps what was sent."""

    def __init__(self, script: Sequence[bytes | Silence | OSError]) -> None:
        self._script = deque(script)
        self._ended = threading.Event()
        self.sent: list[bytes] = []
        self.closed = False

    def recv(self, timeout_s: float | None = None) -> bytes:
        """See `Connection.recv`; a silence lasts no time where a timeout is set."""
        if self._ended.is_set() or not self._script:
            return b""
        match self._script[0]:
            case bytes(chunk):
                self._script.popleft()
                return chunk
            case OSError() as error:
                raise error
            case _ if timeout_s is not None:
                raise TimeoutError(f"nothing came within {timeout_s:g} s")
        self._ended.wait()
        return b""

    def send(self, frame: bytes) -> None:
        """See `Connection.send`."""
        self.sent.append(frame)

    def shutdown(self) -> None:
        """See `Connection.shutdown`."""
        self._ended.set()

    def close(self) -> None:
        """See `Connection.close`."""
        self.closed = True


class FakeTransport:
    """Plays one script a connection, in order; when they are used up, no agent is left."""

    def __init__(self, *scripts: Script) -> None:
        self.pid: int | None = None
        self._scripts = deque(scripts)
        self.connections: list[FakeConnection] = []

    def open(self) -> FakeConnection:
        """See `Transport.open`."""
        if not self._scripts:
            raise NoAgent(self.pid)
        script = self._scripts.popleft()
        if isinstance(script, AttachError | OSError):
            raise script
        self.connections.append(FakeConnection(script))
        return self.connections[-1]
