"""A thread that follows one agent: connects, subscribes, decodes, checks, and connects again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from tuimon.attach.delivered import Delivered
from tuimon.attach.errors import AttachError, Garbled, NoAnswer, WrongProtocol
from tuimon.attach.events import Connected, Disconnected, Ended, Event
from tuimon.attach.transport import Connection, Transport, left_s
from tuimon.attach.validation import Validator
from tuimon.records.hello import Hello
from tuimon.records.layout import Layout
from tuimon.records.record import Record
from tuimon.records.sample import Bye
from tuimon.wire.codec import decode
from tuimon.wire.commands import Command, Subscribe, encode_command
from tuimon.wire.errors import BadFrame, WrongVersion
from tuimon.wire.framing import Decoder

#: How long an agent may take to introduce itself, seconds. Its thread waits for the interpreter
#: while the training is inside one call that holds it; such calls rarely last longer.
HELLO_TIMEOUT_S = 5.0

#: Connections that may end in garbage before the agent is given up: chance does not strike thrice.
GARBLED_CONNECTIONS = 3


@dataclass(frozen=True, slots=True)
class Backoff:
    """Time between attempts: doubled after each that brought nothing new, up to a cap."""

    first_s: float = 0.1
    cap_s: float = 2.0

    def delay_s(self, failures: int) -> float:
        """Time to wait after that many failures in a row, the last one included."""
        return min(self.cap_s, self.first_s * 2.0 ** min(failures - 1, 30))


class _Over(Exception):
    """The agent will say nothing more, for the reason given."""


class Source:
    """Follows one agent until it says goodbye, its process is gone, or `stop` is called.

    `deliver` is called on the source's own thread, one event at a time: `Connected`, then
    records (the first a `Hello`); `Disconnected` and, later, `Connected` again; `Ended` at last,
    unless `stop` was called. What was delivered before is not delivered again after a reconnect.
    While `deliver` waits, nothing is read, and the agent drops its oldest samples for this viewer.

    Args:
        transport: the way to the agent.
        deliver: takes events; must not raise. `Mailbox.put` is one.
        alive: whether the training process still runs; asked after a connection broke.
        clock: monotonic seconds.
        subscribe: what to ask for.
        backoff: time between attempts.
        hello_timeout_s: how long the agent may take to introduce itself.
    """

    def __init__(
        self,
        transport: Transport,
        deliver: Callable[[Event], None],
        alive: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
        *,
        subscribe: Subscribe | None = None,
        backoff: Backoff | None = None,
        hello_timeout_s: float = HELLO_TIMEOUT_S,
    ) -> None:
        self._transport = transport
        self._deliver = deliver
        self._alive = alive
        self._clock = clock
        self._subscribe = subscribe or Subscribe()
        self._backoff = backoff or Backoff()
        self._hello_timeout_s = hello_timeout_s
        self._delivered = Delivered()
        self._failures = 0
        self._garbled = 0
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._thread = threading.Thread(target=self._run, name="tuimon-source", daemon=True)

    def start(self) -> None:
        """Begin to follow. Once only."""
        self._thread.start()

    def stop(self) -> None:
        """End the connection and the thread; no event comes after it returned.

        From within `deliver` it returns at once, and that event is the last one. A `deliver` that
        waits for room must be freed before (`Mailbox.close`): this waits until it has returned.
        """
        self._stopping.set()
        with self._lock:
            if self._connection is not None:
                self._connection.shutdown()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join()

    def join(self, timeout_s: float | None = None) -> bool:
        """Wait until the thread is done; whether it is."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def send(self, command: Command) -> bool:
        """Send a command, from any thread, without waiting; False when there is no connection."""
        frame = encode_command(command)
        with self._lock:
            if self._connection is None:
                return False
            try:
                self._connection.send(frame)
            except OSError:
                self._connection.shutdown()
                return False
        return True

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                reason = self._follow_once()
                if self._stopping.is_set():
                    return
                if not self._alive():
                    raise _Over("the training process has ended")
            except _Over as over:
                self._tell(Ended(str(over)))
                return
            self._failures += 1
            delay_s = self._backoff.delay_s(self._failures)
            self._tell(Disconnected(reason, delay_s))
            self._stopping.wait(delay_s)

    def _follow_once(self) -> str:
        """One connection from its beginning to its end; why it broke.

        Raises:
            _Over: no further connection makes sense.
        """
        pid = self._transport.pid
        try:
            connection = self._transport.open()
            try:
                connection.send(encode_command(self._subscribe))
                self._hold(connection)
                return self._read(connection)
            finally:
                self._hold(None)
                connection.close()
        except WrongVersion as error:
            raise _Over(str(WrongProtocol(pid, str(error)))) from None
        except BadFrame as error:
            self._garbled += 1
            reason = str(Garbled(pid, str(error)))
            if self._garbled >= GARBLED_CONNECTIONS:
                raise _Over(reason) from None
            return reason
        except AttachError as error:
            if error.is_final:
                raise _Over(str(error)) from None
            return str(error)
        except TimeoutError:
            return str(NoAnswer(pid, self._hello_timeout_s))
        except OSError as error:
            return f"the connection broke: {error}"

    def _hold(self, connection: Connection | None) -> None:
        """Make the connection the one that `send` and `stop` act on."""
        with self._lock:
            self._connection = connection
            if connection is not None and self._stopping.is_set():
                connection.shutdown()

    def _read(self, connection: Connection) -> str:
        decoder, validator = Decoder(), Validator()
        deadline_s: float | None = self._clock() + self._hello_timeout_s
        while not self._stopping.is_set():
            chunk = connection.recv(None if deadline_s is None else left_s(deadline_s, self._clock))
            if not chunk:
                cut = " in the middle of a record" if decoder.pending_bytes else ""
                return f"the connection ended{cut}"
            for payload in decoder.feed(chunk):
                record = decode(payload)
                if record is None:
                    continue
                validator.check(record)
                if deadline_s is not None:
                    self._greet(record)
                    deadline_s = None
                self._pass_on(record)
        return "stopped"

    def _greet(self, record: Record) -> None:
        if not isinstance(record, Hello):
            raise BadFrame(f"it begins with a {type(record).__name__}, not with a Hello")
        self._tell(Connected())

    def _pass_on(self, record: Record) -> None:
        if not self._delivered.is_new(record):
            return
        if not isinstance(record, Hello | Layout):
            self._failures = 0  # a connection that brings nothing new is no success
        self._tell(record)
        if isinstance(record, Bye):
            raise _Over(record.reason)

    def _tell(self, event: Event) -> None:
        if not self._stopping.is_set():
            self._deliver(event)
