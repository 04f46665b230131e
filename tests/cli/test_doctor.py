"""`tuimon doctor` as people and scripts read it."""

from __future__ import annotations

import json
import shlex
import sys

import pytest
from agent_double import frames, sample
from command_line import GREETING, PID, Agent, Ran, Tuimon

from tuimon.attach.inspection import machine
from tuimon.attach.inspection.findings import Finding
from tuimon.cli.main import run

WELL = Finding("gdb", "ok", "GNU gdb 77")
ILL = Finding("ptrace", "no", "forbidden", "do something about it")


@pytest.mark.parametrize(("findings", "code"), [([WELL], 0), ([WELL, ILL], 1)])
def test_the_exit_code_says_whether_one_can_attach(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], findings: list[Finding], code: int
) -> None:
    monkeypatch.setattr(machine, "machine_findings", lambda: findings)
    told = Ran(run(["doctor"]), *capfd.readouterr())
    assert (told.code, told.err) == (code, "")
    assert "ok  gdb" in told.out
    if code:
        assert "NO  ptrace" in told.out
        assert "-> do something about it" in told.out
        assert "tuimon run" in told.out


def test_a_training_that_answers(tuimon: Tuimon, agent: Agent) -> None:
    agent(GREETING, frames(sample(41)))
    ran = tuimon("doctor", PID)
    assert (ran.code, ran.err) == (0, "")
    assert "inside (train), step 41" in ran.out
    assert "its main thread " in ran.out
    assert ran.out.splitlines()[-1] == f"one can attach: `tuimon attach {PID}`"


def test_all_of_it_as_json(tuimon: Tuimon, agent: Agent) -> None:
    agent(GREETING, frames(sample(41)))
    told = json.loads(tuimon("doctor", PID, "--json").out)
    assert told["attachable"] is True
    assert told["pid"] == PID
    for finding in told["machine"] + told["process"]:
        assert set(finding) == {"name", "verdict", "what", "remedy"}
        assert finding["verdict"] in ("ok", "no", "note")
    assert set(told["main_thread"]) == {"state", "call", "kernel", "frames", "unseen", "still_s"}


def test_no_process(tuimon: Tuimon) -> None:
    ran = tuimon("doctor", 2**22 + 1)
    assert ran.code == 1
    assert "no process" in ran.only_line


def test_another_place_is_looked_at_over_there(tuimon: Tuimon, agent: Agent) -> None:
    agent(GREETING, frames(sample(41)))
    there = ("--via", "env", "--remote-command", shlex.join([sys.executable, "-m", "tuimon"]))
    ran = tuimon("doctor", PID, *there)
    assert (ran.code, ran.err) == (0, "")
    assert "inside (train), step 41" in ran.out
    assert json.loads(tuimon("doctor", PID, "--json", *there).out)["pid"] == PID
    none = tuimon("doctor", 2**22 + 1, *there)
    assert none.code == 1
    assert none.only_line.startswith("tuimon: on env: there is no process")
