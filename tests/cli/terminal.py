"""A terminal with `tuimon` in it, as its person sees it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

#: A guard against hanging, no measurement.
PATIENCE_S = 120.0


#: Becomes Python with these arguments, with its standard input as the terminal whose keys send signals.
_IN_CONTROL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


class Terminal:
    """A terminal of that size in which `tuimon` runs, as its person sees it."""

    def __init__(
        self, columns: int, rows: int, runtime: Path, *arguments: object, controlling: bool = False
    ) -> None:
        self._own, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))
        environment = {**os.environ, "TERM": "xterm-256color", "XDG_RUNTIME_DIR": str(runtime)}
        self.process = subprocess.Popen(
            [sys.executable, "-c", _IN_CONTROL, "-m", "tuimon", *map(str, arguments)],
            stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True,
            # What asks for a password asks the controlling terminal, whatever its streams are.
            preexec_fn=(lambda: fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)) if controlling else None,
        )  # fmt: skip
        os.close(theirs)
        self.shown = ""

    def until(self, text: str) -> None:
        """Read what is drawn until it holds this text."""
        deadline_s = time.monotonic() + PATIENCE_S
        while text not in self.shown:
            # A living screen never stops drawing, so waiting for silence is not enough.
            never = f"{text!r} was never drawn: {self.shown[-2000:]!r}"
            assert self._read(), never
            assert time.monotonic() < deadline_s, never

    def press(self, keys: str) -> None:
        os.write(self._own, keys.encode())

    def to_the_end(self) -> int:
        """Read until the process has left the terminal; its exit code."""
        while self._read():
            pass
        return self.process.wait(PATIENCE_S)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._own)

    def _read(self) -> bool:
        readable, _, _ = select.select([self._own], [], [], PATIENCE_S)
        assert readable, f"nothing more is drawn after {self.shown[-2000:]!r}"
        with contextlib.suppress(OSError):  # the other side has closed the terminal
            drawn = os.read(self._own, 65536).decode(errors="replace")
            self.shown += drawn
            return bool(drawn)
        return False


@contextlib.contextmanager
def terminal(
    columns: int, rows: int, runtime: Path, *arguments: object, controlling: bool = False
) -> Iterator[Terminal]:
    shown = Terminal(columns, rows, runtime, *arguments, controlling=controlling)
    try:
        yield shown
    finally:
        shown.close()
