"""Real trainings in processes of their own, and the command line beside them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from starting import Start

TRAINING = Path(__file__).with_name("train_digits.py")


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts Python with these arguments; what still runs in the end is killed."""
    started: list[subprocess.Popen[str]] = []
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}

    def start(*arguments: object) -> subprocess.Popen[str]:
        command = [sys.executable, *map(str, arguments)]
        pipe = subprocess.PIPE
        started.append(
            subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=environment)
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def training(start: Start) -> subprocess.Popen[str]:
    """A training that has taken its first step and goes on until its standard input closes."""
    process = start("-W", "error", TRAINING)
    assert process.stdout is not None
    assert process.stdout.readline() == "training\n"
    return process
