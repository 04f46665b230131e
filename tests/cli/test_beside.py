"""Whom `tuimon run` follows, and what it says of it in the end."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
from agent_double import HELLO, LAYOUT, sample

from tuimon.attach.meeting import Meeting, Member
from tuimon.cli import beside
from tuimon.cli.beside import Beside
from tuimon.records.sample import Bye
from tuimon.records.tensors import empty_table
from tuimon.session.session import Session

LOSSES = {1: None, 2: 2.0, 3: 1.0, 4: None}


@pytest.fixture
def meeting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Meeting:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return Meeting()


def say(meeting: Meeting, pid: int, what: str, **more: object) -> None:
    with (meeting._folder / str(pid)).open("a") as file:
        file.write(json.dumps({"what": what, "pid": pid, **more}) + "\n")


def following(meeting: Meeting) -> Beside:
    return Beside(meeting, threading.Event(), [])


def test_a_process_is_known_by_all_its_lines(meeting: Meeting) -> None:
    say(meeting, 7, "torch", rank=None)
    assert meeting.members() == [Member(7)]
    say(meeting, 7, "agent", rank=1, local_rank=1, world_size=2)
    (member,) = meeting.members()
    assert (member.agent, member.label) == (True, "rank 1 of 2 (process 7)")


def test_half_a_line_and_strangers_files_are_nobody(meeting: Meeting) -> None:
    (meeting._folder / "8").write_text('{"what": "torch", "pi')
    (meeting._folder / "9").write_text("hello\n")
    (meeting._folder / "notes").write_text("hello\n")
    meeting.tell_kernels(7, "/somewhere")
    assert meeting.members() == []


def test_it_tells_why_there_is_nothing(meeting: Meeting) -> None:
    assert meeting.silence().startswith("no Python of the command loaded PyTorch")
    say(meeting, 7, "torch")
    assert meeting.silence().startswith("process 7 loaded PyTorch, but no backward")
    say(meeting, 8, "failed", error="ImportError: numpy")
    assert meeting.silence() == "the agent did not start in process 8: ImportError: numpy"


def test_what_killed_runs_left_is_taken_away(meeting: Meeting) -> None:
    left = meeting._sockets / "run-999999999-1"
    left.mkdir()
    with meeting:
        pass
    with Meeting() as another:
        assert another._folder.is_dir()
        assert not left.exists()


def test_the_first_rank_is_followed_whoever_speaks_first(meeting: Meeting) -> None:
    follows = following(meeting)
    say(meeting, 7, "agent", rank=1, world_size=2)
    assert follows._next(False) is None
    say(meeting, 8, "agent", rank=0, world_size=2)
    found = follows._next(False)
    assert found is not None
    assert found.pid == 8


def test_without_the_first_rank_the_lowest_one_is_followed(
    meeting: Meeting, monkeypatch: pytest.MonkeyPatch
) -> None:
    follows = following(meeting)
    say(meeting, 7, "agent", rank=9, world_size=16)
    say(meeting, 8, "agent", rank=8, world_size=16)
    assert follows._next(False) is None
    monkeypatch.setattr(beside, "RANK_PATIENCE_S", 0.0)
    found = follows._next(False)
    assert found is not None
    assert found.pid == 8


def test_a_loss_that_was_not_measured_is_not_told_as_0() -> None:
    session = Session()
    samples = [sample(index, loss=loss, tensors=empty_table()) for index, loss in LOSSES.items()]
    for event in (HELLO, LAYOUT, *samples, Bye("finished", 4)):
        session.apply(event)
    told = beside._observed(Member(7), session)
    assert told == "train, process 7: step 4, loss 2 -> 1, watching cost -, no alert fired"


def test_a_training_that_no_loss_was_seen_of() -> None:
    session = Session()
    for event in (HELLO, LAYOUT, sample(1)):
        session.apply(event)
    assert "loss - -> -" in beside._observed(Member(7), session)
