"""The publisher's thread at work: lets viewers in, does what they ask for, serves them.

Everything but `wake` runs on that thread.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import time
from collections.abc import Callable
from pathlib import Path

from tuimon.agent.publishing.archive import Archive
from tuimon.agent.publishing.client import Client
from tuimon.agent.publishing.listener import Listener
from tuimon.wire.commands import Command
from tuimon.wire.errors import WireError

#: Connections at a time. Further ones are closed at once: descriptors belong to the training.
CONNECTIONS = 64

#: At the end, a viewer that takes nothing for so long is left, seconds.
STUCK_S = 0.4

#: Time between looks at a viewer that takes nothing, at the end, seconds.
_LOOK_S = 0.05


class Server:
    """Serves any number of viewers from one archive.

    Args:
        archive: what they are told.
        hello: makes the frame of the agent's introduction, as it is now.
        on_command: takes what viewers ask for, subscriptions excepted.
        directory: where to listen, by default the user's socket directory.
        check_s: time between looks at whether the socket is still there, seconds.

    Raises:
        UnsafeDirectory: the socket directory is not this user's alone.
        OSError: the socket cannot be made, or this process listens already.
    """

    def __init__(
        self,
        archive: Archive,
        hello: Callable[[], bytes],
        on_command: Callable[[Command], None],
        directory: Path | None,
        check_s: float,
    ) -> None:
        #: Connections that have subscribed.
        self.viewers = 0
        #: When the last viewer that left did so, on the monotonic clock; None if none has.
        self.last_departure_s: float | None = None
        self._archive = archive
        self._hello = hello
        self._on_command = on_command
        self._check_s = check_s
        self._checked_s = time.monotonic()
        self._clients: dict[int, Client] = {}
        with contextlib.ExitStack() as undo:
            self._listener = Listener(directory)
            undo.callback(self._listener.close)
            self._woken, self._waker = socket.socketpair()
            undo.callback(self._woken.close)
            undo.callback(self._waker.close)
            self._woken.setblocking(False)
            self._waker.setblocking(False)
            self._selector = selectors.DefaultSelector()
            undo.callback(self._selector.close)
            self._selector.register(self._woken, selectors.EVENT_READ)
            self._selector.register(self._listener, selectors.EVENT_READ)
            undo.pop_all()
        #: Whether the selector looks at the listener.
        self._accepting = True

    @property
    def path(self) -> Path:
        """Where viewers connect."""
        return self._listener.path

    def wake(self) -> None:
        """End the `wait` in progress, or the next one. From any thread; never waits, never raises."""
        # Its buffer is full: it is awake. It is closed: it has ended.
        with contextlib.suppress(OSError):
            self._waker.send(b"\0", socket.MSG_NOSIGNAL)

    def wait(self, timeout_s: float) -> None:
        """Wait until somebody has something to say, and hear it."""
        for key, events in self._selector.select(timeout_s):
            client = key.data
            if client is not None:
                if events & selectors.EVENT_WRITE:
                    client.blocked = False
                if events & selectors.EVENT_READ:
                    self._hear(client)
            elif key.fileobj is self._woken:
                self._woken.recv(4096)
            else:
                self._accept()

    def serve(self) -> None:
        """Give each viewer what it takes at once."""
        for client in list(self._clients.values()):
            if client.blocked:
                continue
            try:
                client.send(self._hello)
            except OSError:
                self._part(client)
                continue
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if client.waiting else 0)
            if self._selector.get_key(client.connection).events != events:
                self._selector.modify(client.connection, events, client)

    def greet(self) -> None:
        """Have the introduction sent to every viewer next."""
        for client in self._clients.values():
            client.greet()

    def keep_listening(self) -> None:
        """From time to time: bind again where the socket was removed; accept again after EMFILE."""
        now_s = time.monotonic()
        if now_s - self._checked_s < self._check_s:
            return
        self._checked_s = now_s
        if self._listener.vanished:
            self._watch_listener(False)
            with contextlib.suppress(OSError):  # no disk, no descriptors: maybe the next time
                self._listener.bind_again()
        self._watch_listener(True)

    def say_goodbye(self, half_s: float, deadline_s: float) -> None:
        """Let nobody in any more, and serve whoever is there to the end of the archive.

        Args:
            half_s: from then on a viewer gets only the newest of the samples it has not got.
            deadline_s: when to leave whoever still is not done; both on the monotonic clock.
        """
        self._watch_listener(False)
        self._listener.close()
        taken = {client: (client.sent_bytes, time.monotonic()) for client in self._clients.values()}
        while self._clients:
            self.serve()
            now_s = time.monotonic()
            for client in list(self._clients.values()):
                if now_s >= half_s:
                    client.skip_to_newest()
                if client.sent_bytes != taken[client][0]:
                    taken[client] = client.sent_bytes, now_s
                stuck = now_s - taken[client][1] > STUCK_S
                if not client.waiting or stuck or now_s >= deadline_s:
                    self._part(client)
            if self._clients:
                self.wait(_LOOK_S)

    def close(self) -> None:
        """Let go of everything, the socket's name on disk included. Idempotent."""
        self._listener.close()
        self._close_descriptors()

    def forget(self) -> None:
        """In the child of a fork: let go of everything without a trace outside of this process."""
        self._listener.forget()
        self._close_descriptors()

    def _close_descriptors(self) -> None:
        # Closed before anything is unregistered: a parent waits on the same kernel object.
        self._selector.close()
        for client in self._clients.values():
            client.connection.close()
        self._clients.clear()
        self.viewers = 0
        self._woken.close()
        self._waker.close()

    def _hear(self, client: Client) -> None:
        before = client.subscribed
        try:
            commands = client.receive()
        except (EOFError, OSError, WireError):
            self._part(client)
            return
        self.viewers += client.subscribed - before
        for command in commands:
            self._on_command(command)

    def _accept(self) -> None:
        try:
            connection = self._listener.accept()
        except OSError:
            # No descriptors left. Whoever waits keeps the socket readable: look again later.
            self._watch_listener(False)
            return
        if connection is None:
            return
        if len(self._clients) >= CONNECTIONS:
            connection.close()
            return
        client = Client(connection, self._archive)
        self._clients[connection.fileno()] = client
        self._selector.register(connection, selectors.EVENT_READ, client)

    def _part(self, client: Client) -> None:
        self._selector.unregister(client.connection)
        del self._clients[client.connection.fileno()]
        client.connection.close()
        if client.subscribed:
            self.viewers -= 1
            self.last_departure_s = time.monotonic()

    def _watch_listener(self, watch: bool) -> None:
        if watch and not self._accepting:
            self._selector.register(self._listener, selectors.EVENT_READ)
        elif self._accepting and not watch:
            self._selector.unregister(self._listener)
        self._accepting = watch
