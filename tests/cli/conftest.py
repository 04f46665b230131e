"""The command line as a process of its own, and a training that is none: this very process."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from agent_double import Server, saying
from command_line import PATIENCE_S, PID, Agent, Ran, Start, Tuimon

from tuimon.wire.paths import process_start_ticks, socket_path


@pytest.fixture
def runtime(tmp_path: Path) -> Path:
    """A runtime directory of this test's own, where sockets are looked for."""
    (tmp_path / "tuimon").mkdir(mode=0o700)
    return tmp_path


@pytest.fixture
def start(runtime: Path) -> Iterator[Start]:
    """Starts `tuimon` with these arguments; what still runs in the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: object, **settings: object) -> subprocess.Popen[str]:
        environment = {**os.environ, "XDG_RUNTIME_DIR": str(runtime), "PYTHONWARNINGS": "error"}
        started.append(
            subprocess.Popen(
                [sys.executable, "-m", "tuimon", *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=environment,
                **settings,
            )
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def tuimon(start: Start) -> Tuimon:
    """Runs `tuimon` with these arguments to its end."""

    def run(*arguments: object) -> Ran:
        process = start(*arguments)
        out, err = process.communicate(timeout=PATIENCE_S)
        return Ran(process.returncode, out, err)

    return run


@pytest.fixture
def own_socket(runtime: Path) -> Path:
    """Where an agent in this process would listen."""
    return socket_path(PID, process_start_ticks(PID), runtime / "tuimon")


@pytest.fixture
def agent(own_socket: Path) -> Iterator[Agent]:
    """Lets an agent in this process say these bytes to everyone who subscribes."""
    with contextlib.ExitStack() as stack:

        def say(*chunks: bytes) -> Server:
            server = Server(own_socket, saying(*chunks))
            stack.callback(server.close)
            return server

        yield say
