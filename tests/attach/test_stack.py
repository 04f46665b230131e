"""Where a main thread is, seen from outside: what the kernel tells, and what py-spy adds."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tuimon.attach.inspection import stack
from tuimon.attach.inspection.stack import Frame, Whereabouts, main_thread

#: Hangs in a read, two calls deep; a second thread runs.
HANGING = """
import os, threading
def wait_for_data():
    os.read(0, 1)
def train():
    wait_for_data()
threading.Thread(target=threading.Event().wait, daemon=True).start()
print(flush=True)
train()
"""
BUSY = """
print(flush=True)
while True:
    pass
"""


@contextmanager
def process(folder: Path, code: str) -> Iterator[int]:
    script = folder / "train.py"
    script.write_text(code)
    command = [sys.executable, "-S", str(script)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        running.stdout.readline()
        try:
            yield running.pid
        finally:
            running.kill()


def until_it_waits(pid: int) -> Whereabouts:
    """The line was printed just before the thread began to wait."""
    at = main_thread(pid)
    while (at.call, at.state) != ("read", "waiting"):
        at = main_thread(pid)
    return at


def test_a_main_thread_that_hangs_in_a_read(tmp_path: Path) -> None:
    if stack.stack_program() is None:
        pytest.skip("py-spy is not installed")
    with process(tmp_path, HANGING) as pid:
        at = until_it_waits(pid)
        assert at.state == "waiting"
        assert [frame.function for frame in at.frames] == ["wait_for_data", "train", "<module>"]
        assert at.frames[0] == Frame("wait_for_data", str(tmp_path / "train.py"), 4)
        assert at.unseen is None
        words = "waiting for data or another process in read, called from wait_for_data (train.py:4)"
        assert at.in_words() == words


def test_the_kernel_tells_even_without_py_spy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stack, "stack_program", lambda: None)
    with process(tmp_path, HANGING) as pid:
        at = until_it_waits(pid)
    assert at.frames == ()
    assert at.unseen is not None and "pip install 'tuimon[stack]'" in at.unseen
    assert at.in_words() == "waiting for data or another process in read"


def test_a_main_thread_that_computes(tmp_path: Path) -> None:
    with process(tmp_path, BUSY) as pid:
        at = main_thread(pid)
    assert (at.state, at.call) == ("running", None)
    assert at.in_words().startswith("running")


def test_a_py_spy_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "py-spy"
    program.write_text("#!/bin/sh\necho 'Error: Permission Denied' >&2; exit 1\n")
    program.chmod(0o700)
    monkeypatch.setattr(stack, "stack_program", lambda: str(program))
    at = main_thread(os.getpid())
    assert at.frames == ()
    assert at.unseen == "py-spy: Error: Permission Denied"


def test_no_process() -> None:
    with pytest.raises(ProcessLookupError):
        main_thread(2**22 + 1)


@pytest.mark.parametrize(
    ("at", "words"),
    [
        (Whereabouts("waiting", "futex", None), "waiting for a lock or another thread in futex"),
        (Whereabouts("waiting", "ioctl", "x"), "waiting for a device driver in ioctl"),
        (Whereabouts("waiting", "system call 999", None), "waiting in system call 999"),
        (Whereabouts("waiting", None, "do_wait"), "waiting in the kernel's do_wait"),
        (Whereabouts(None, None, None), "in an unknown state"),
    ],
)
def test_words(at: Whereabouts, words: str) -> None:
    assert at.in_words() == words
