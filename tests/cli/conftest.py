"""The command line as a process of its own, and a training that is none: this very process."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from agent_double import HELLO, LAYOUT, Server, frames, saying

from tuimon.wire.paths import process_start_ticks, socket_path

#: A guard against hanging, no measurement.
PATIENCE_S = 60.0

OWN_HELLO = replace(HELLO, pid=os.getpid())
GREETING = frames(OWN_HELLO, LAYOUT)


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str

    @property
    def only_line(self) -> str:
        """What stderr says, which must be one line, with nothing on stdout."""
        assert self.out == ""
        assert self.err.endswith("\n")
        assert self.err.count("\n") == 1, self.err
        assert "Traceback" not in self.err
        return self.err[:-1]


@pytest.fixture
def runtime(tmp_path: Path) -> Path:
    """A runtime directory of this test's own, where sockets are looked for."""
    (tmp_path / "tuimon").mkdir(mode=0o700)
    return tmp_path


@pytest.fixture
def start(runtime: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
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
def tuimon(start: Callable[..., subprocess.Popen[str]]) -> Callable[..., Ran]:
    """Runs `tuimon` with these arguments to its end."""

    def run(*arguments: object) -> Ran:
        process = start(*arguments)
        out, err = process.communicate(timeout=PATIENCE_S)
        return Ran(process.returncode, out, err)

    return run


@pytest.fixture
def own_socket(runtime: Path) -> Path:
    """Where an agent in this process would listen."""
    return socket_path(os.getpid(), process_start_ticks(os.getpid()), runtime / "tuimon")


@pytest.fixture
def agent(own_socket: Path) -> Iterator[Callable[..., Server]]:
    """Lets an agent in this process say these bytes to everyone who subscribes."""
    with contextlib.ExitStack() as stack:

        def say(*chunks: bytes) -> Server:
            server = Server(own_socket, saying(*chunks))
            stack.callback(server.close)
            return server

        yield say
