"""`tuimon run` around commands that train nothing: terminal, signals, exit codes, how Python is started."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
from command_line import PATIENCE_S, Start, Tuimon
from terminal import Terminal

from tuimon.cli.interpreter import relaunched

#: The command, and what of it is run by way of the launcher "L".
PYTHONS = {
    "python train.py -E": None,
    "python -u -X dev train.py": None,
    "python3.11 -m train -I": None,
    "python -": None,
    "python -I": None,
    "python -I -": None,
    "python --version -I": None,
    "bash -E script.sh": None,
    "python -I train.py a b": "python -I L script train.py a b",
    "/venv/bin/python3.12 -uE -W error train.py": "/venv/bin/python3.12 -uE -W error L script train.py",
    "python -SWerror train.py": "python -SWerror L script train.py",
    "python -I -m train --lr 1": "python -I L -m train --lr 1",
    "python -Im train --lr 1": "python -I L -m train --lr 1",
    "python -X dev -E -ccode b": "python -X dev -E L -c code b",
    "python --check-hash-based-pycs always -E t.py": "python --check-hash-based-pycs always -E L script t.py",
}


@pytest.mark.parametrize("command", PYTHONS)
def test_only_a_deaf_python_goes_by_way_of_the_launcher(command: str) -> None:
    assert " ".join(relaunched(command.split(), "L")) == (PYTHONS[command] or command)


@pytest.mark.parametrize("code", [0, 1, 3, 77])
def test_the_exit_code_is_the_commands(tuimon: Tuimon, code: int) -> None:
    assert tuimon("run", "sh", "-c", f"exit {code}").code == code


def test_a_command_that_a_signal_ended_ends_it_as_in_a_shell(tuimon: Tuimon) -> None:
    assert tuimon("run", "sh", "-c", "kill -KILL $$").code == 128 + signal.SIGKILL


def test_options_behind_the_command_are_its_own(tuimon: Tuimon) -> None:
    ran = tuimon("run", "echo", "--every", "--events")
    assert (ran.code, ran.out) == (0, "--every --events\n")


def test_a_command_that_is_not_there(tuimon: Tuimon) -> None:
    ran = tuimon("run", "--", "no-such-command")
    assert ran.code == 127
    assert ran.only_line == "tuimon: no-such-command: there is no such command; nothing was started"


def test_a_command_that_cannot_be_run(tuimon: Tuimon, tmp_path: Path) -> None:
    (tmp_path / "script").write_text("exit 0\n")
    ran = tuimon("run", tmp_path / "script")
    assert ran.code == 126
    assert ran.only_line.endswith("cannot be run: Permission denied; nothing was started")


def test_events_that_cannot_be_written_start_nothing(tuimon: Tuimon, tmp_path: Path) -> None:
    ran = tuimon("run", "--events", tmp_path / "missing" / "events", "touch", tmp_path / "started")
    assert ran.code == 1
    assert ran.only_line.endswith("cannot be written to: No such file or directory; nothing was started")
    assert not (tmp_path / "started").exists()


def test_without_a_command_it_says_how(tuimon: Tuimon) -> None:
    ran = tuimon("run")
    assert ran.code == 2
    assert "COMMAND" in ran.only_line


def test_nothing_stays_in_the_socket_directory(tuimon: Tuimon, runtime: Path) -> None:
    tuimon("run", "true")
    assert list((runtime / "tuimon").iterdir()) == []


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_sent_to_it_alone_is_passed_on(start: Start, sent: signal.Signals) -> None:
    waits = f"trap 'exit 4' {sent.name[3:]}; echo ready; while :; do sleep 0.05; done"
    process = start("run", "bash", "-c", waits)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(sent)
    assert process.wait(PATIENCE_S) == 4


def test_a_signal_that_it_ignores_is_ignored_by_the_command(tuimon: Tuimon) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        ran = tuimon("run", sys.executable, "-c", "import signal; print(signal.getsignal(signal.SIGHUP))")
    finally:
        signal.signal(signal.SIGHUP, before)
    assert ran.out == f"{signal.SIG_IGN:d}\n"


def test_the_terminals_interrupt_reaches_the_command_once(tmp_path: Path) -> None:
    counts = (
        "import signal, sys; told = []; signal.signal(signal.SIGINT, lambda *_: told.append(print('hit')));"
        "print('ready'); sys.stdin.readline(); sys.exit(10 + len(told))"
    )
    shown = Terminal(80, 24, tmp_path, "run", sys.executable, "-uc", counts)
    try:
        shown.until("ready")
        shown.press("\x03")
        shown.until("hit")
        shown.press("\n")
        assert shown.to_the_end() == 11
    finally:
        shown.close()


def test_the_environment_is_the_users_but_for_two_variables(tuimon: Tuimon) -> None:
    lines = tuimon("run", "env").out.splitlines()
    found = dict(line.split("=", 1) for line in lines if "=" in line)
    ours, of_the_test = {"TUIMON_RUN", "PYTHONPATH"}, {"XDG_RUNTIME_DIR", "PYTHONWARNINGS"}
    assert found.keys() - os.environ.keys() - of_the_test == ours - os.environ.keys()
