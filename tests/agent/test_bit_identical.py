"""Promise P1: a training that is watched computes, bit for bit, what it computes alone."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import train_randomly
from observing import PATIENCE_S, complaints, received, subscribed

from tuimon.records.record import Record
from tuimon.records.sample import Bye, Sample

Start = Callable[..., "subprocess.Popen[str]"]


def left_by(process: subprocess.Popen[str]) -> dict[str, Any]:
    out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, complaints(err)) == (0, "")
    left: dict[str, Any] = json.loads(out)
    return left


def watched(process: subprocess.Popen[str]) -> tuple[dict[str, Any], list[Record]]:
    """What it leaves, and what a viewer was told while another one beside it never read."""
    assert process.stdin is not None
    assert process.stdout is not None
    path = Path(process.stdout.readline().rstrip("\n"))
    with subscribed(path) as _stuck, subscribed(path) as reading:
        told = received(reading)
        records = [next(told)]  # from here on both are certainly viewers
        process.stdin.write("\n")
        process.stdin.flush()
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
    assert isinstance(records[-1], Bye)
    assert records[-1].reason == "finished"


def test_watched_until_the_middle(start: Start, bare: dict[str, Any]) -> None:
    left, records = watched(start("train_randomly.py", "closed"))
    assert left == bare
    assert isinstance(records[-1], Bye)
    assert (records[-1].reason, records[-1].step) == ("closed", train_randomly.STEPS // 2)
