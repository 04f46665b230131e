"""The one thread of the agent: tells viewers what the training process has measured.

Nothing in the training waits for it. `publish` puts a record on a queue; the thread encodes it
into the archive and serves each viewer from there, as fast as that viewer reads.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from tuimon.agent.forks import forget_in_children
from tuimon.agent.publishing.archive import Archive
from tuimon.agent.publishing.server import Server
from tuimon.records.hello import Hello
from tuimon.records.record import Record
from tuimon.records.sample import Bye, Notice, Sample
from tuimon.wire.codec import encode
from tuimon.wire.commands import Command
from tuimon.wire.errors import WireError

#: Without viewers the thread is woken for this many records at once: waking it costs the training
#: some tens of microseconds of the interpreter, encoding them later costs nothing more.
BATCH = 16

#: With viewers the thread looks by itself so often, seconds, for as long as it finds something. Then
#: the training does not pay for waking it (5 to 15 us, Xeon, 2 cores), and fast steps share a turn.
PACE_S = 0.02

#: Records that may wait for the thread before samples are no longer taken; others always are.
PENDING = 64

#: Signals that a fault raises in the thread it happens in; all others are the main thread's.
_FAULTS = frozenset(
    {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT, signal.SIGTRAP}
)


class Publisher:
    """Publishes one agent's records to any number of viewers, from a daemon thread.

    Args:
        hello: the agent's introduction as it is now; called on the thread.
        on_command: takes what viewers ask for, `Cadence` and `Detach`; called on the thread, and
            may call `close`.
        directory: where to listen, by default the user's socket directory.
        archive: the past to begin with, by default an empty one.
        on_turn: called on the thread each time it looks around; returns after how many seconds it
            wants to be called again at the latest, None to leave that open. May call `close`.
        on_failure: called on the thread when it has ended unasked, see `failed`.
        check_s: time between looks at whether the socket is still there, seconds.
    """

    def __init__(
        self,
        hello: Callable[[], Hello],
        on_command: Callable[[Command], None],
        directory: Path | None = None,
        archive: Archive | None = None,
        *,
        on_turn: Callable[[], float | None] = lambda: None,
        on_failure: Callable[[], None] = lambda: None,
        check_s: float = 1.0,
    ) -> None:
        self._hello = hello
        self._on_turn = on_turn
        self._on_failure = on_failure
        self._on_command = on_command
        self._directory = directory
        self._archive = Archive() if archive is None else archive
        self._check_s = check_s
        self._pending: deque[Record] = deque()
        #: Whether `publish` does nothing: not started, closing, failed, or in a forked child.
        self._deaf = True
        self._pid = 0
        #: Whether the thread will look for what was published without being woken (again).
        self._looking = False
        self._greeting = self._closing = False
        self._half_s = self._deadline_s = 0.0
        self._refused: set[type[Record]] = set()
        self._failed: str | None = None
        self._server: Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def viewers(self) -> int:
        """Connections that have subscribed."""
        return 0 if self._server is None else self._server.viewers

    @property
    def last_departure_s(self) -> float | None:
        """When the last viewer that left did so, on the monotonic clock; None if none has."""
        return None if self._server is None else self._server.last_departure_s

    @property
    def path(self) -> Path:
        """Where viewers connect; not before `start`."""
        if self._server is None:
            raise RuntimeError("a publisher that was not started has no path")
        return self._server.path

    @property
    def failed(self) -> str | None:
        """Why the thread ended unasked, in one line; None while it has not."""
        return self._failed

    def start(self) -> None:
        """Listen, and begin to serve. Once only.

        Raises:
            UnsafeDirectory: the socket directory is not this user's alone.
            OSError: the socket cannot be made, or this process listens already.
            RuntimeError: the system gives no further thread.
        """
        server = Server(self._archive, self._hello_frame, self._on_command, self._directory, self._check_s)
        thread = threading.Thread(target=self._run, args=(server,), name="tuimon-publisher", daemon=True)
        self._pid = os.getpid()
        self._server, self._deaf = server, False
        forget_in_children(self)
        try:
            thread.start()
        except BaseException:
            self._deaf = True
            server.close()
            raise
        self._thread = thread

    def publish(self, record: Record) -> None:
        """Hand a record over. Never waits, never raises; from any thread; costs about a microsecond.

        While `PENDING` records wait already, a sample is dropped: its number is missing then. A
        Hello is as good as `greet`.
        """
        if self._deaf or os.getpid() != self._pid:
            return
        pending = self._pending
        if len(pending) >= PENDING and isinstance(record, Sample):
            return
        pending.append(record)
        if not self._looking and (len(pending) >= BATCH or self.viewers):
            self._wake()

    def greet(self) -> None:
        """The introduction has changed: give it to every viewer again. Never waits, never raises."""
        self._greeting = True
        self._wake()

    def wake(self) -> None:
        """Have the thread look around now. Never waits, never raises; from any thread."""
        self._wake()

    def wait_closed(self, timeout_s: float) -> None:
        """Until the thread has ended, but no longer than that."""
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout_s)

    def close(self, bye: Bye, timeout_s: float = 1.0) -> None:
        """Say goodbye, take the socket away and end the thread. Idempotent, never raises.

        Viewers are given what they have still to get for as long as they take it: from half of the
        time on only the newest sample and what is no sample, after the time nothing. One that
        takes nothing is left sooner (`STUCK_S`), so that a stuck viewer does not hold up the end.
        """
        if self._thread is None or os.getpid() != self._pid:
            return
        if not self._closing:
            self._deaf = True
            self._pending.append(bye)
            now_s = time.monotonic()
            self._half_s, self._deadline_s = now_s + timeout_s / 2, now_s + timeout_s
            self._closing = True
        self._wake()
        if self._thread is not threading.current_thread():
            self._thread.join(timeout_s + 1.0)

    def forget(self) -> None:
        """In the child of a fork: let go of what belongs to the parent."""
        self._deaf, self._thread = True, None
        self._pending.clear()
        if self._server is not None:
            self._server.forget()

    def _wake(self) -> None:
        self._looking = True
        if self._server is not None:
            self._server.wake()

    def _run(self, server: Server) -> None:
        # So that Ctrl-C interrupts what the main thread waits for, and a main thread that waits
        # for signals itself gets them.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals() - _FAULTS)
        try:
            while not self._closing:
                came = self._take(server)
                server.serve()
                server.keep_listening()
                turn_s = self._on_turn()
                if not self._closing:
                    self._wait(server, came, turn_s)
            self._take(server)
            server.say_goodbye(self._half_s, self._deadline_s)
        except Exception as error:
            self._failed = f"{type(error).__name__}: {error}".splitlines()[0]
        finally:
            self._deaf = True
            server.close()
            self._pending.clear()
            self._archive = Archive()  # a closed monitor that lives on keeps no memory
        if self._failed is not None:
            self._on_failure()

    def _wait(self, server: Server, came: bool, turn_s: float | None) -> None:
        """Until there is something to do; `came`: whether there just was; `turn_s`: see `on_turn`."""
        longest_s = self._check_s if turn_s is None else min(self._check_s, turn_s)
        if came and server.viewers:
            self._looking = True
            server.wait(min(PACE_S, longest_s))
            return
        self._looking = False
        # What was published just before that has woken nobody.
        if not (self._pending and server.viewers):
            server.wait(longest_s)

    def _take(self, server: Server) -> bool:
        """Into the archive with all that was published; whether there was anything."""
        came = bool(self._pending)
        while self._pending:
            record = self._pending.popleft()
            if isinstance(record, Hello):
                self._greeting = True
                continue
            try:
                self._archive.append(record)
            except (WireError, TypeError, ValueError) as error:
                self._tell_refused(record, error)
        if self._greeting:
            self._greeting = False
            server.greet()
        return came

    def _tell_refused(self, record: Record, error: Exception) -> None:
        """Once for each kind of record: what is too long now will be too long the next time."""
        if type(record) in self._refused:
            return
        self._refused.add(type(record))
        text = f"a {type(record).__name__} could not be sent: {error!s:.200}"
        self._archive.append(Notice(getattr(record, "step", 0), time.time(), text))

    def _hello_frame(self) -> bytes:
        return encode(self._hello())
