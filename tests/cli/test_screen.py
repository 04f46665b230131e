"""`attach` on a terminal: the screen opens, and leaving it leaves the training alone."""

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

import pytest
from agent_double import frames, sample
from command_line import BYE, GREETING, PATIENCE_S, PID, Agent


class Terminal:
    """A terminal of that size in which `tuimon` runs, as its person sees it."""

    def __init__(self, columns: int, rows: int, runtime: Path, *arguments: object) -> None:
        self._own, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))
        environment = {**os.environ, "TERM": "xterm-256color", "XDG_RUNTIME_DIR": str(runtime)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tuimon", *map(str, arguments)],
            stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True,
        )  # fmt: skip
        os.close(theirs)
        self.shown = ""

    def until(self, text: str) -> None:
        """Read what is drawn until it holds this text."""
        while text not in self.shown:
            assert self._read(), f"{text!r} was never drawn: {self.shown[-2000:]!r}"

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
        deadline_s = time.monotonic() + PATIENCE_S
        readable, _, _ = select.select([self._own], [], [], deadline_s - time.monotonic())
        assert readable, f"nothing more is drawn after {self.shown[-2000:]!r}"
        with contextlib.suppress(OSError):  # the other side has closed the terminal
            drawn = os.read(self._own, 65536).decode(errors="replace")
            self.shown += drawn
            return bool(drawn)
        return False


@contextlib.contextmanager
def terminal(columns: int, rows: int, runtime: Path, *arguments: object) -> Iterator[Terminal]:
    shown = Terminal(columns, rows, runtime, *arguments)
    try:
        yield shown
    finally:
        shown.close()


@pytest.mark.parametrize("size", [(80, 24), (160, 48)])
def test_attach_opens_the_screen_and_q_leaves_it(runtime: Path, agent: Agent, size: tuple[int, int]) -> None:
    agent(GREETING, frames(*(sample(index, loss=2.5) for index in range(1, 40))))
    with terminal(*size, runtime, "attach", PID) as shown:
        shown.until("encoder")
        shown.press("q")
        assert shown.to_the_end() == 0
        assert f"process {PID} goes on" in shown.shown
        assert "Traceback" not in shown.shown


def test_a_terminal_that_is_too_small_says_which_size_it_needs(runtime: Path, agent: Agent) -> None:
    agent(GREETING, frames(sample(1), BYE))
    with terminal(50, 10, runtime, "attach", PID) as shown:
        shown.until("60x16")
        shown.press("q")
        assert shown.to_the_end() == 0
        assert "Traceback" not in shown.shown


def test_on_a_terminal_too_a_failure_is_one_line(runtime: Path) -> None:
    with terminal(80, 24, runtime, "attach", 2**22 + 1) as shown:
        assert shown.to_the_end() == 1
        assert shown.shown.count("\n") == 1
        assert f"no process {2**22 + 1}" in shown.shown
