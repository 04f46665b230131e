"""Trainings of another place: the way to an agent there, and the list of what runs there.

tuimon runs on the other side too, with the rights that the user has there: `tuimon relay PID` copies
frames between its standard input and output and the agent's socket. Nothing listens on a port.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from tuimon.attach.elsewhere.command import CommandConnection, CommandEnded
from tuimon.attach.elsewhere.greeting import RELAY_VERSION, Greeting, find_greeting
from tuimon.attach.elsewhere.place import Place
from tuimon.attach.elsewhere.remote_errors import (
    EndedThere,
    NoClient,
    NoiseThere,
    OldTuimonThere,
    RefusedThere,
)
from tuimon.attach.errors import NoAnswer
from tuimon.attach.events import Event
from tuimon.attach.source import Backoff, Source
from tuimon.wire.commands import Subscribe

#: How long a connection may take from its start to the agent's first words, seconds: the network, a
#: login shell, an interpreter from a cold disk, and entering a process that never heard of tuimon.
CONNECT_S = 90.0
#: Between attempts. A host that is asked too often shuts its door.
BACKOFF = Backoff(0.5, 30.0)

#: What a login shell may print before the relay speaks, bytes.
_NOISE_BYTES = 256 * 1024


class RelayConnection:
    """A connection to an agent through a relay; see `Connection`.

    What comes before the relay's greeting is skipped. Until the greeting came, every `recv` may also
    raise an `AttachError` that says why there is none.
    """

    def __init__(self, place: Place, command: CommandConnection, meet: Callable[[Greeting], None]) -> None:
        self._place = place
        self._command = command
        self._meet = meet
        self._greeted = False
        self._heard = b""

    def recv(self, timeout_s: float | None = None) -> bytes:
        """See `Connection.recv`."""
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        if not self._greeted and not self.greet(timeout_s):
            return b""
        if self._heard:
            chunk, self._heard = self._heard, b""
            return chunk
        try:
            return self._command.recv_until(deadline_s)
        except CommandEnded as ended:
            raise ConnectionError(f"{self._place.name}: {ended}") from None

    def greet(self, timeout_s: float | None = None, tell: Callable[[str], None] | None = None) -> bool:
        """Wait for the relay's greeting; False when it was shut down before.

        Args:
            timeout_s: how long; None for ever.
            tell: takes what the command says on stderr as long as it runs. What it said before it
                failed is part of the error.

        Raises:
            AttachError: there is no greeting, or it refuses.
            TimeoutError: none came in time.
        """
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            try:
                chunk = self._command.recv_until(deadline_s, tell)
            except CommandEnded as ended:
                raise self._place.failure(ended.code, ended.said, self._heard) from None
            self._heard += chunk
            found = find_greeting(self._heard)
            if found is not None:
                greeting, self._heard = found
                self._check(greeting)
                self._greeted = True
                return True
            if not chunk:
                return self._ended_early()
            if len(self._heard) > _NOISE_BYTES:
                raise NoiseThere(self._place.name, self._heard.decode(errors="replace").strip())

    def send(self, frame: bytes) -> None:
        """See `Connection.send`."""
        self._command.send(frame)

    def shutdown(self) -> None:
        """See `Connection.shutdown`."""
        self._command.shutdown()

    def close(self) -> None:
        """See `Connection.close`."""
        self._command.close()

    def _check(self, greeting: Greeting) -> None:
        if greeting.relay != RELAY_VERSION:
            raise OldTuimonThere(self._place.name, greeting.tuimon)
        self._meet(greeting)

    def _ended_early(self) -> bool:
        if self._command.is_shut_down:
            return False
        raise self._place.failure(0, self._command.said, self._heard)


class CommandTransport:
    """The way to the agent of one process of another place; see `Transport`.

    Args:
        place: where it is.
        pid: the process there.
        options: words for `tuimon relay` there: for the agent that it brings in where there is none.
    """

    def __init__(self, place: Place, pid: int, options: Sequence[str] = ()) -> None:
        self.place = place
        self.pid: int | None = pid
        #: Clock of that machine less the one here, seconds, as far as one can tell from here.
        self.ahead_s = 0.0
        self._pid, self._options = pid, tuple(options)
        self._started_ticks: int | None = None
        self._prepared: RelayConnection | None = None

    def open(self) -> RelayConnection:
        """See `Transport.open`. It returns at once; what is the matter, the first `recv` says."""
        prepared, self._prepared = self._prepared, None
        return prepared or self._start(ask=False)

    def prepare(self, tell: Callable[[str], None] = lambda _: None, ask: bool = False) -> None:
        """Make the connection that `open` then gives, so that what fails, fails now.

        Args:
            tell: takes what the command says meanwhile on stderr.
            ask: whether there is a person at the terminal, whom it may ask.

        Raises:
            AttachError: there is no way, and why.
        """
        connection = self._start(ask)
        try:
            # A person may have to look for a password first.
            connection.greet(None if ask else CONNECT_S, tell)
        except TimeoutError:
            connection.close()
            raise NoAnswer(self.pid, CONNECT_S) from None
        except BaseException:
            connection.close()
            raise
        self._prepared = connection

    def close(self) -> None:
        """Give back a prepared connection that was never opened."""
        if self._prepared is not None:
            self._prepared.close()
            self._prepared = None

    def now_s(self) -> float:
        """Unix time of that machine, seconds: what its records are dated in."""
        return time.time() + self.ahead_s

    def _start(self, ask: bool) -> RelayConnection:
        # The pid first: by its place it is found where tuimon is looked for.
        words = self.place.words("relay", str(self._pid), *self._options, ask=ask)
        try:
            command = CommandConnection(words, terminal=ask)
        except (FileNotFoundError, PermissionError):
            raise NoClient(self.place.name, words[0]) from None
        return RelayConnection(self.place, command, self._meet)

    def _meet(self, greeting: Greeting) -> None:
        known = self._started_ticks
        if known is not None and (
            greeting.kind == "NoSuchProcess" or greeting.started_ticks not in (None, known)
        ):
            raise EndedThere(self.place.name, self.pid)
        if greeting.what is not None:
            raise RefusedThere(self.place.name, greeting)
        self._started_ticks = greeting.started_ticks
        if greeting.time_s is not None:
            self.ahead_s = greeting.time_s - time.time()


def attach_through(
    transport: CommandTransport, deliver: Callable[[Event], None], subscribe: Subscribe | None = None
) -> Source:
    """A source for the agent at the transport's end, not started yet.

    Whether its process lives is known there only: the next connection tells.
    """
    return Source(
        transport, deliver, lambda: True,
        subscribe=subscribe, backoff=BACKOFF, hello_timeout_s=CONNECT_S,
    )  # fmt: skip
