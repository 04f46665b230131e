"""`record --measure`: asks, says how far it is, and ends with the answer to its own question."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from agent_double import Server, frames, sample
from command_line import GREETING, PID, Tuimon

from tuimon.records.tensors import empty_table
from tuimon.records.trial import Trial
from tuimon.wire.commands import Measure, decode_command
from tuimon.wire.framing import Decoder

EARLIER = Trial(3, 1003.0, 20, 20, 25, 1, 1.5, 1.4, 1.6, 0.96, 0.015, 0.01, ("another",), done=True)


@pytest.fixture
def asked(own_socket: Path) -> Iterator[list[Measure]]:
    """What an agent in this process was asked to measure: it tells an earlier result, then its answer."""
    commands: list[Measure] = []

    def serve(connection: socket.socket, _: int) -> None:
        connection.sendall(GREETING + frames(sample(1, tensors=empty_table()), EARLIER))
        decoder = Decoder()
        while chunk := connection.recv(4096):
            for payload in decoder.feed(chunk):
                command = decode_command(payload)
                assert isinstance(command, Measure)
                commands.append(command)
                own = replace(EARLIER, step=9, ratio=1.008, low=0.997, high=1.013, asked=("x", command.token))
                connection.sendall(frames(replace(own, pairs=10, done=False), own))

    with contextlib.ExitStack() as stack:
        stack.callback(Server(own_socket, serve).close)
        yield commands


def test_it_ends_with_the_result_of_its_own_question(tuimon: Tuimon, asked: list[Measure]) -> None:
    ran = tuimon("record", PID, "--measure", "--every", 3)
    assert (ran.code, ran.err) == (0, "")
    (command,) = asked
    assert (command.every, command.budget_ratio) == (3, None)
    assert ran.out.splitlines()[-3:] == [
        "measuring what watching costs: 10 of 20 pairs",
        "step 9  measured: watching costs +0.8 % (-0.3 to +1.3 %) "
        "(20 pairs of blocks of 25 steps, watched every 1)",
        "end at step 1: measured what watching costs; no alert fired",
    ]


def test_as_json(tuimon: Tuimon, asked: list[Measure]) -> None:
    ran = tuimon("record", PID, "--measure", "--json")
    lines = [json.loads(line) for line in ran.out.splitlines()]
    assert [line["event"] for line in lines] == ["hello", "sample", "measured", "measured", "bye"]
    assert lines[3] == {
        "event": "measured", "step": 9, "time": 1003.0, "ratio": 1.008, "low": 0.997, "high": 1.013,
        "confidence": 0.96, "pairs": 20, "block_steps": 25, "every": 1, "watched_step_s": 0.015,
        "bare_step_s": 0.01, "stopped": None,
    }  # fmt: skip
