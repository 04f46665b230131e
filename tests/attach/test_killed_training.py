"""A training in a process of its own, killed while it is watched."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from agent_double import until

from tuimon.attach.discovery import attach_to, find_socket
from tuimon.attach.errors import NoSuchProcess
from tuimon.attach.events import Ended
from tuimon.attach.mailbox import Mailbox
from tuimon.records.layout import Layout
from tuimon.wire.paths import process_start_ticks, socket_path

TRAINING = f"""
import os, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from agent_double import GREETING, saying, serving
from tuimon.wire.paths import process_start_ticks, socket_path
with serving(socket_path(os.getpid(), process_start_ticks(os.getpid())), saying(GREETING)):
    print("listening", flush=True)
    input()
"""


def test_a_training_that_is_killed_ends_the_story(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    box = Mailbox()
    with subprocess.Popen(
        [sys.executable, "-c", TRAINING], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as training:
        assert training.stdout is not None
        assert training.stdout.readline() == b"listening\n"
        left = socket_path(training.pid, process_start_ticks(training.pid))
        source = attach_to(training.pid, box.put)
        source.start()
        until(box, Layout)
        training.kill()
        # Nobody has collected the process yet: it is a zombie, and yet it has ended.
        assert until(box, Ended)[-1] == Ended("the training process has ended")
        assert source.join(30.0)
    assert left.is_socket()
    with pytest.raises(NoSuchProcess):
        find_socket(training.pid)
