"""`tuimon detach` tells what became of the agent that it sent away."""

from __future__ import annotations

import importlib
import socket
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from agent_double import HELLO, frames, sample, serving
from command_line import GREETING, PATIENCE_S, PID, Tuimon

from tuimon.attach import discovery
from tuimon.attach.process import process_facts
from tuimon.attach.ranks import Training
from tuimon.cli.main import run
from tuimon.records.record import Record
from tuimon.records.sample import Bye, Notice
from tuimon.wire.commands import Command, Detach, decode_command
from tuimon.wire.framing import Decoder

# The module, not the command of the same name in it.
detach = importlib.import_module("tuimon.cli.detach")

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


def test_a_process_that_dies_meanwhile(tuimon: Tuimon, own_socket: Path) -> None:
    def die(connection: socket.socket, _: int) -> None:
        connection.sendall(GREETING)
        # Closed with something unread: the other side is told of a reset.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with serving(own_socket, die):
        ran = tuimon("detach", PID)
    assert ran.code == 1
    assert str(PID) in ran.only_line
    assert "`tuimon list` shows whether" in ran.only_line


def rank(pid: int) -> Training:
    facts = process_facts(PID)
    return Training(replace(facts, pid=pid))


@pytest.mark.parametrize(
    ("outcomes", "code", "out", "err"),
    [
        ({1: ["one left"], 2: ["two left"]}, 0, "one left\ntwo left\n", ""),
        ({1: ["one left"], 2: detach._NotInside("not inside 2")}, 0, "one left\n", ""),
        ({1: detach._NotInside("no 1"), 2: detach._NotInside("no 2")}, 1, "", "tuimon: no 1\n"),
        ({1: detach.Failure("stuck"), 2: ["two left"]}, 1, "two left\n", "tuimon: stuck\n"),
        ({1: detach._NotInside("no 1"), 2: detach.Failure("stuck")}, 1, "", "tuimon: stuck\n"),
    ],
)
def test_a_launcher_stands_for_its_ranks_and_each_is_left(
    outcomes: dict[int, list[str] | Exception],
    code: int,
    out: str,
    err: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def sent_away(pid: int) -> list[str]:
        outcome = outcomes[pid]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(discovery, "standing_for", lambda _: [rank(pid) for pid in outcomes])
    monkeypatch.setattr(detach, "_sent_away", sent_away)
    assert run(["detach", str(PID)]) == code
    assert capsys.readouterr() == (out, err)
