"""`tuimon detach` tells what became of the agent that it sent away."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from agent_double import HELLO, frames, sample, serving
from command_line import GREETING, PATIENCE_S, PID, Tuimon

from tuimon.records.record import Record
from tuimon.records.sample import Bye, Notice
from tuimon.wire.commands import Command, Detach, decode_command
from tuimon.wire.framing import Decoder

LAST = Bye("detached", 41, 1041.0)


def heard(connection: socket.socket) -> Command | None:
    """The next command of this viewer."""
    connection.settimeout(PATIENCE_S)
    decoder = Decoder()
    while chunk := connection.recv(4096):
        for payload in decoder.feed(chunk):
            return decode_command(payload)
    return None


def leaving(*last: Record) -> Callable[[socket.socket, int], None]:
    """An agent that says these things when it is asked to leave, and hangs up."""

    def serve(connection: socket.socket, _: int) -> None:
        connection.sendall(GREETING + frames(sample(1)))
        assert heard(connection) == Detach()
        connection.sendall(frames(*last))

    return serve


def test_an_agent_that_leaves(tuimon: Tuimon, own_socket: Path) -> None:
    with serving(own_socket, leaving(LAST)):
        ran = tuimon("detach", PID)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == f"tuimon has left process {PID} ({HELLO.name}) at step 41; the training goes on\n"


def test_what_it_has_to_say_is_shown(tuimon: Tuimon, own_socket: Path) -> None:
    with serving(own_socket, leaving(Notice(41, 1040.0, "no step has ended"), LAST)):
        ran = tuimon("detach", PID)
    assert ran.code == 0
    assert ran.out.splitlines()[1:] == ["no step has ended"]


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("finished", f"process {PID} ({HELLO.name}) ended by itself at step 41"),
        ("disarmed: x", f"tuimon had left process {PID} ({HELLO.name}) already at step 41: disarmed: x"),
    ],
)
def test_other_ends(tuimon: Tuimon, own_socket: Path, reason: str, told: str) -> None:
    with serving(own_socket, leaving(replace(LAST, reason=reason))):
        ran = tuimon("detach", PID)
    assert (ran.code, ran.out) == (0, told + "\n")


def test_an_agent_that_hangs_up_without_a_word(tuimon: Tuimon, own_socket: Path) -> None:
    with serving(own_socket, leaving()):
        ran = tuimon("detach", PID)
    assert ran.code == 1
    assert f"the agent in process {PID} hung up without a goodbye" in ran.only_line


def test_a_process_without_an_agent(tuimon: Tuimon) -> None:
    ran = tuimon("detach", PID)
    assert ran.code == 1
    assert str(PID) in ran.only_line
