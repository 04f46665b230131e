"""The demo's training in a process of its own, which ends with this one."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from typing import IO

from tuimon.attach.discovery import find_socket
from tuimon.attach.errors import AttachError
from tuimon.cli.exits import Failure

#: What runs in the process.
CHILD = "tuimon.demo.child"

#: From the start of the process to an agent that listens; importing torch from a cold disk takes long.
START_TIMEOUT_S = 120.0
_POLL_S = 0.02
_LEAVE_TIMEOUT_S = 5.0


class DemoTraining:
    """A running training, until its starter leaves or is gone."""

    def __init__(self, pid: int, pipe: IO[bytes]) -> None:
        self.pid = pid
        self._pipe = pipe

    def let_end(self) -> None:
        """Someone watches: the process may end as soon as the training is over. Idempotent."""
        # It may have failed by now; then the pipe is broken, and the connection tells.
        with suppress(OSError):
            self._pipe.write(b"\n")


@contextmanager
def demo_training(scenario: str, steps: int | None) -> Iterator[DemoTraining]:
    """A running demo training that an agent watches; it is ended on leaving.

    Raises:
        Failure: PyTorch is missing, or the training did not start.
    """
    if find_spec("torch") is None:
        raise Failure("the demo trains a model, and PyTorch is not installed; pip install 'tuimon[train]'")
    command = [sys.executable, "-m", CHILD, "--scenario", scenario]
    if steps is not None:
        command += ["--steps", str(steps)]
    with tempfile.TemporaryFile("w+", errors="replace") as output:
        # Its own session: Ctrl-C is for the viewer. It ends when this end of the pipe closes,
        # which the kernel sees to however this process ends.
        child = subprocess.Popen(
            command, bufsize=0, stdin=subprocess.PIPE, stdout=output, stderr=output, start_new_session=True
        )
        assert child.stdin is not None
        try:
            _wait_for_agent(child, output)
            yield DemoTraining(child.pid, child.stdin)
        finally:
            child.stdin.close()
            _end(child)


def _wait_for_agent(child: subprocess.Popen[bytes], output: IO[str]) -> None:
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            find_socket(child.pid)
            return
        except AttachError as error:
            if child.poll() is not None:
                raise Failure(f"the demo's training did not start: {_last_line(output)}") from None
            if time.monotonic() > deadline_s:
                raise Failure(f"the demo's training does not answer: {error}") from None
        time.sleep(_POLL_S)


def _last_line(output: IO[str]) -> str:
    output.seek(0)
    lines = output.read().strip().splitlines()
    return lines[-1] if lines else "it said nothing"


def _end(child: subprocess.Popen[bytes]) -> None:
    try:
        child.wait(_LEAVE_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
