"""A connection over the standard input and output of a command, such as `ssh`."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress

from tuimon.attach.transport import READ_BYTES, left_s

#: Lines of stderr that are kept, and how much of each; it is for messages only.
_LINES, _LINE_BYTES = 50, 500
#: Read of it at a time: all that a pipe holds.
_STDERR_BYTES = 64 * 1024
#: How long a command may take to end by itself once its standard input is closed, and after SIGTERM, seconds.
_LEAVE_S, _TERMINATE_S = 0.5, 1.0
#: How often its words are looked for while a person may have to answer them, seconds.
_TICK_S = 0.2


class CommandEnded(ConnectionError):
    """The command has ended, and not well."""

    def __init__(self, code: int, said: Sequence[str]) -> None:
        super().__init__(said[-1] if said else f"the command that leads there ended with exit code {code}")
        self.code = code
        #: The last lines of its stderr.
        self.said = tuple(said)


class CommandConnection:
    """Runs a command and speaks with it; see `Connection`.

    Args:
        command: the program and its arguments; no shell comes between.
        terminal: whether it may ask the person at the terminal (a password). If not, it runs in a
            session of its own: it has no terminal to ask on, and a Ctrl-C there does not reach it.

    Raises:
        FileNotFoundError: there is no such program here.
        OSError: it cannot be started.
    """

    def __init__(self, command: Sequence[str], terminal: bool = False) -> None:
        pipe = subprocess.PIPE
        self._child = subprocess.Popen(
            command, bufsize=0, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=not terminal
        )
        assert self._child.stdin and self._child.stdout and self._child.stderr
        self._pipes = (self._child.stdin, self._child.stdout, self._child.stderr)
        self._in, self._out, self._err = (pipe.fileno() for pipe in self._pipes)
        self._alone = not terminal
        self._wake = os.eventfd(0)
        self._ready = select.poll()
        for descriptor in (self._in, self._out, self._err):
            os.set_blocking(descriptor, False)
        for descriptor in (self._out, self._err, self._wake):
            self._ready.register(descriptor, select.POLLIN)
        self._said: deque[str] = deque(maxlen=_LINES)
        self._news: deque[str] = deque(maxlen=_LINES)
        self._unfinished = b""
        #: Whether `shutdown` was called.
        self.is_shut_down = False

    @property
    def said(self) -> list[str]:
        """The last lines of its stderr, blank ones left out."""
        return list(self._said)

    def recv(self, timeout_s: float | None = None) -> bytes:
        """See `Connection.recv`.

        Raises:
            CommandEnded: the command has ended, and not with 0.
        """
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            left = None if deadline_s is None else 1000.0 * max(0.0, deadline_s - time.monotonic())
            ready = {descriptor for descriptor, _ in self._ready.poll(left)}
            if self._wake in ready:
                return b""
            if self._err in ready and not self._listen():
                self._ready.unregister(self._err)
            if self._out in ready:
                return os.read(self._out, READ_BYTES) or self._end()
            if deadline_s is not None:
                left_s(deadline_s, time.monotonic)

    def recv_until(self, deadline_s: float | None, tell: Callable[[str], None] | None = None) -> bytes:
        """As `recv`, until a moment of the monotonic clock.

        `tell` takes what the command says on stderr as long as it goes on: what it said before it
        failed belongs to the failure.
        """
        while tell is not None:
            with suppress(TimeoutError):
                return self.recv(_TICK_S)
            while self._news:
                tell(self._news.popleft())
            if deadline_s is not None:
                left_s(deadline_s, time.monotonic)
        return self.recv(None if deadline_s is None else left_s(deadline_s, time.monotonic))

    def send(self, frame: bytes) -> None:
        """See `Connection.send`."""
        if os.write(self._in, frame) < len(frame):
            raise ConnectionError("the command takes nothing")

    def shutdown(self) -> None:
        """See `Connection.shutdown`."""
        self.is_shut_down = True
        os.eventfd_write(self._wake, 1)

    def close(self) -> None:
        """Close its standard input, wait until it has ended, and end it if it does not."""
        for pipe in self._pipes[:2]:
            pipe.close()
        try:
            self._child.wait(_LEAVE_S)
        except subprocess.TimeoutExpired:
            self._kill()
        self._pipes[2].close()
        os.close(self._wake)

    def _kill(self) -> None:
        self._signal(signal.SIGTERM)
        try:
            self._child.wait(_TERMINATE_S)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            self._child.wait()

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            if self._alone:
                os.killpg(self._child.pid, number)
            else:
                self._child.send_signal(number)

    def _end(self) -> bytes:
        """Its output has ended: nothing, if it ended well."""
        try:
            code = self._child.wait(_LEAVE_S)
        except subprocess.TimeoutExpired:
            return b""
        self._listen()
        if self._unfinished.strip():
            self._take(self._unfinished)
        if code == 0:
            return b""
        raise CommandEnded(code, self.said)

    def _listen(self) -> bool:
        """Take in some of what stands on stderr; False at its end."""
        with suppress(BlockingIOError):
            # Once only: who writes without end would never let go.
            chunk = os.read(self._err, _STDERR_BYTES)
            *lines, self._unfinished = (self._unfinished + chunk).split(b"\n")
            self._unfinished = self._unfinished[-_LINE_BYTES:]
            for line in lines[-_LINES:]:
                self._take(line)
            return bool(chunk)
        return True

    def _take(self, line: bytes) -> None:
        text = " ".join(line[:_LINE_BYTES].decode(errors="replace").split())
        if text:
            self._said.append(text)
            self._news.append(text)
