"""Recordings on the command line: made by `record -o`, shown by `replay`, `attach` and `record`."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from agent_double import HELLO, LAYOUT, frames, sample
from command_line import BYE, GREETING, PID, Agent, Tuimon
from terminal import terminal

from tuimon.recording.writer import Recorder
from tuimon.records.sample import Log, Notice

LOST = frames(sample(1, loss=2.0), sample(2, loss=math.nan), sample(3, loss=math.nan))


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    path = tmp_path / "run.tuimon"
    recorder = Recorder(path)
    for one in (HELLO, LAYOUT, sample(1, loss=2.0), sample(2, loss=1.0), BYE):
        recorder.write(one)
    recorder.close()
    return path


def test_what_was_recorded_is_replayed_line_by_line(tuimon: Tuimon, agent: Agent, tmp_path: Path) -> None:
    agent(GREETING, LOST, frames(Log(3, 1003.0, {"val_loss": 1.25}), Notice(3, 1003.0, "hm"), BYE))
    file = tmp_path / "run.tuimon"
    live = tuimon("record", PID, "-o", file)
    assert (live.code, live.err) == (0, "")
    assert "CRITICAL nonfinite" in live.out
    for verb in ("replay", "attach", "record"):
        replayed = tuimon(verb, file)
        assert (replayed.code, replayed.err, replayed.out) == (0, "", live.out)


def test_json_lines_of_a_recording_are_those_of_the_run(tuimon: Tuimon, agent: Agent, tmp_path: Path) -> None:
    agent(GREETING, LOST, frames(BYE))
    file = tmp_path / "run.tuimon"
    live = tuimon("record", PID, "--json", "--tensors", "-o", file)
    replayed = tuimon("record", file, "--json", "--tensors")
    assert (replayed.code, replayed.out) == (0, live.out)
    assert tuimon("record", file, "--fail-on", "critical").code == 3


def test_the_newest_run_is_shown_unless_one_is_named(tuimon: Tuimon, agent: Agent, recorded: Path) -> None:
    agent(GREETING, frames(sample(1, loss=9.0), BYE))
    tuimon("record", PID, "-o", recorded)
    newest = tuimon("replay", recorded)
    assert "loss 9" in newest.out
    assert newest.err == "run 2 of 2; --run N shows another\n"
    first = tuimon("replay", recorded, "--run", 1)
    assert "loss 2" in first.out
    assert first.err == ""
    third = tuimon("replay", recorded, "--run", 3)
    assert third.code == 1
    assert third.only_line == f"tuimon: {recorded} holds no run 3; its runs are 1 to 2"


def test_a_replay_opens_the_screen(recorded: Path, tmp_path: Path) -> None:
    with terminal(120, 40, tmp_path, "replay", recorded) as shown:
        shown.until("encoder")
        shown.press("q")
        assert shown.to_the_end() == 0
    assert "end at step 3: the training has finished" in shown.shown


@pytest.mark.parametrize("verb", ["replay", "attach", "record"])
def test_what_is_no_recording_is_said_in_a_line(tuimon: Tuimon, tmp_path: Path, verb: str) -> None:
    script = tmp_path / "train.py"
    ran = tuimon(verb, script)
    assert ran.code == 1
    assert ran.only_line == f"tuimon: {script} is not there; `tuimon run --record FILE` makes a recording"
    script.write_text("import torch\n")
    ran = tuimon(verb, script)
    assert ran.code == 1
    assert ran.only_line == f"tuimon: {script} is no recording; name a file that tuimon has recorded"


@pytest.mark.parametrize("command", [("run", "--record", "FILE", "true"), ("record", PID, "-o", "FILE")])
def test_nothing_begins_where_the_file_cannot_be_written(
    tuimon: Tuimon, tmp_path: Path, command: tuple[object, ...]
) -> None:
    ran = tuimon(*(tmp_path / "missing" / "file" if word == "FILE" else word for word in command))
    assert ran.code == 1
    assert "cannot be written to" in ran.only_line


def test_a_damaged_recording_is_shown_as_far_as_it_can_be(tuimon: Tuimon, recorded: Path) -> None:
    import sqlite3

    database = sqlite3.connect(recorded)
    database.execute("UPDATE frames SET frame = x'00' WHERE seq = 4")
    database.commit()
    database.close()
    ran = tuimon("replay", recorded)
    assert ran.code == 1
    assert "step 1  loss 2" in ran.out
    assert "is damaged" in ran.err
    assert "Traceback" not in ran.err
