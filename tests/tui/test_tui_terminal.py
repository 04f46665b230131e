"""On a real (pseudo-)terminal: how much is sent to it, and that the viewer leaves when it goes away."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tuimon.tui.app import PAINT_S
from tuimon.tui.hangup import terminal_gone

CHILD = Path(__file__).with_name("pty_child.py")
MARK = b"\x1b]0;steady\x07"
#: screens.md: "under 8 kB/s in steady state, 20 at worst".
WORST_BYTES_PER_S = 20_000


@contextmanager
def on_terminal(*arguments: str, **environment: str) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """The child on a terminal of 120x40; gives the terminal's other side, and the process."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    root = str(CHILD.parents[2])
    known = {"TERM": "xterm-256color", "COLORTERM": "truecolor", "LC_ALL": "C.UTF-8", "PYTHONPATH": root}
    inherited = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "TUIMON_ASCII")}
    process = subprocess.Popen(
        [sys.executable, str(CHILD), *arguments], stdin=theirs, stdout=theirs, stderr=theirs,
        env={**inherited, **known, **environment}, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    try:
        yield ours, process
    finally:
        process.kill()
        process.wait()


def read_all(terminal: int) -> bytes:
    """Everything until the other side is closed."""
    read = bytearray()
    while True:
        try:
            chunk = os.read(terminal, 65536)
        except OSError:  # Linux says EIO at the end
            chunk = b""
        if not chunk:
            return bytes(read)
        read += chunk


@pytest.mark.parametrize(
    "environment", [{}, {"COLORTERM": ""}, {"TUIMON_ASCII": "1"}, {"NO_COLOR": "1"}], ids=str
)
def test_a_picture_costs_few_bytes(environment: dict[str, str]) -> None:
    pictures = 40
    with on_terminal("120", str(pictures), **environment) as (terminal, process):
        sent = read_all(terminal)
        os.close(terminal)
        assert process.wait(30) == 0, sent[-2000:].decode(errors="replace")
    before, _, steady = sent.partition(MARK)
    assert b"loss" in before
    assert steady
    assert len(steady) / pictures / PAINT_S < WORST_BYTES_PER_S
    if environment.get("NO_COLOR"):
        assert b"38;2;" not in sent
        assert b"38;5;" not in sent
    if environment.get("TUIMON_ASCII"):
        assert sent.isascii()
    if environment.get("COLORTERM") == "":
        assert b"38;2;" not in sent


def test_the_viewer_ends_when_its_terminal_goes_away() -> None:
    with on_terminal("60", "4", "stay") as (terminal, process):
        seen = b""
        while MARK not in seen:
            seen += os.read(terminal, 65536)
        os.close(terminal)
        process.wait(20)


def test_a_terminal_is_gone_when_its_other_side_is() -> None:
    ours, theirs = pty.openpty()
    assert not terminal_gone(theirs)
    os.close(ours)
    assert terminal_gone(theirs)
    os.close(theirs)
