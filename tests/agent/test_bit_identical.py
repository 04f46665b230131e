"""Promise P1: a training that is watched computes, bit for bit, what it computes alone; one that is entered
in mid-run too, and one that is left again.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import train_randomly
from observing import PATIENCE_S, complaints, received, subscribed

from tuimon.records.criterion import Evaluation
from tuimon.records.record import Record
from tuimon.records.sample import Bye, Sample
from tuimon.wire.commands import Detach, encode_command

Start = Callable[..., "subprocess.Popen[str]"]


def left_by(process: subprocess.Popen[str]) -> dict[str, Any]:
    out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, complaints(err)) == (0, "")
    left: dict[str, Any] = json.loads(out)
    return left


def go_on(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def watched(
    process: subprocess.Popen[str], in_the_middle: Callable[[socket.socket], None] | None = None
) -> tuple[dict[str, Any], list[Record]]:
    """What it leaves, and what a viewer was told while another one beside it never read."""
    assert process.stdout is not None
    path = Path(process.stdout.readline().rstrip("\n"))
    with subscribed(path) as _stuck, subscribed(path) as reading:
        told = received(reading)
        records = [next(told)]  # from here on both are certainly viewers
        go_on(process)
        if in_the_middle is not None:
            assert process.stdout.readline() == "in the middle\n"
            in_the_middle(reading)
            go_on(process)
        records += told
    return left_by(process), records


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    script = train_randomly.__file__
    assert script is not None
    pipe = subprocess.PIPE
    return left_by(subprocess.Popen([sys.executable, script, "bare"], stdout=pipe, stderr=pipe, text=True))


def test_watched_at_every_step_by_two_viewers_of_which_one_is_stuck(
    start: Start, bare: dict[str, Any]
) -> None:
    left, records = watched(start("train_randomly.py", "watched"))
    assert left == bare
    steps = [record.step for record in records if isinstance(record, Sample)]
    # The last one always arrives; a slow reader may miss some in between.
    assert steps[-1] == train_randomly.STEPS
    assert steps == sorted(set(steps))
    passes = [(record.step, record.batches) for record in records if isinstance(record, Evaluation)]
    assert passes == [(step, 1) for step in range(25, train_randomly.STEPS + 1, 25)]
    assert isinstance(records[-1], Bye)
    assert records[-1].reason == "finished"


def test_watched_until_the_middle(start: Start, bare: dict[str, Any]) -> None:
    left, records = watched(start("train_randomly.py", "closed"))
    assert left == bare
    assert isinstance(records[-1], Bye)
    assert (records[-1].reason, records[-1].step) == ("closed", train_randomly.STEPS // 2)


def test_entered_in_mid_run_and_watched_to_the_end(start: Start, bare: dict[str, Any]) -> None:
    left, records = watched(start("train_randomly.py", "entered"))
    assert left == bare
    steps = [record.step for record in records if isinstance(record, Sample)]
    # The first one is found out about, all others are observed; a slow reader may miss some in between.
    assert steps[0] > train_randomly.ENTERED_AT
    assert steps[-1] == train_randomly.STEPS
    assert isinstance(records[-1], Bye)
    assert records[-1].reason == "finished"


def test_entered_and_left_again_in_mid_run(start: Start, bare: dict[str, Any]) -> None:
    def detach(viewer: socket.socket) -> None:
        viewer.sendall(encode_command(Detach()))

    left, records = watched(start("train_randomly.py", "detached"), detach)
    assert left == bare
    assert isinstance(records[-1], Bye)
    assert records[-1].reason == "detached"
    # The request is read at some time after that.
    assert train_randomly.DETACHED_AT <= records[-1].step <= train_randomly.STEPS
