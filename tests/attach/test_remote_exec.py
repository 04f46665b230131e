"""Python's own way in, asked of the process's own program; a stand-in for that program."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from proc_double import ProcDouble, proc_double

from tuimon.attach.injection import entering, remote_exec
from tuimon.attach.injection.entry_errors import EntryFailed
from tuimon.attach.injection.preflight import Interpreter
from tuimon.attach.process import ProcessFacts, process_facts


@pytest.fixture
def machine(tmp_path: Path) -> ProcDouble:
    return proc_double(tmp_path / "proc")


def program(machine: ProcDouble, tmp_path: Path, script: str) -> ProcessFacts:
    """A process whose program is a shell script."""
    path = tmp_path / "python3.14"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    machine.add(7, exe=str(path))
    return process_facts(7, machine.root)


def test_the_processes_own_program_is_asked(machine: ProcDouble, tmp_path: Path) -> None:
    facts = program(machine, tmp_path, f'printf "%s|" "$@" > {tmp_path}/asked')
    remote_exec.run_script(facts, "/tmp/x/line.py", machine.root)
    *options, code, pid, script, end = (tmp_path / "asked").read_text().split("|")
    assert options == ["-I", "-S", "-c"]
    assert "sys.remote_exec(int(sys.argv[1]), sys.argv[2])" in code
    assert (pid, script, end) == ("7", "/tmp/x/line.py", "")


def test_a_refusal_is_its_last_line(machine: ProcDouble, tmp_path: Path) -> None:
    facts = program(machine, tmp_path, 'echo "Traceback" >&2; echo "RuntimeError: disabled" >&2; exit 1')
    with pytest.raises(remote_exec.NoRemoteExec, match=r"^RuntimeError: disabled$"):
        remote_exec.run_script(facts, "/tmp/x", machine.root)


def test_a_program_that_cannot_be_run(machine: ProcDouble, tmp_path: Path) -> None:
    machine.add(7, exe="/nowhere/python3.14")
    with pytest.raises(remote_exec.NoRemoteExec, match="No such file"):
        remote_exec.run_script(process_facts(7, machine.root), "/tmp/x", machine.root)


def test_root_runs_somebody_elses_program_as_that_user(
    machine: ProcDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = replace(program(machine, tmp_path, "exit 0"), uid=65534, gid=65533)
    asked: list[dict[str, object]] = []

    def run(*_: object, **settings: object) -> subprocess.CompletedProcess[str]:
        asked.append(settings)
        return subprocess.CompletedProcess([], 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    for roots in (False, True):
        monkeypatch.setattr(remote_exec, "_is_roots", lambda _path, roots=roots: roots)
        remote_exec.run_script(facts, "/tmp/x", machine.root)
    theirs, own = asked
    assert (theirs["user"], theirs["group"], theirs["extra_groups"]) == (65534, 65533, [])
    assert (own["user"], own["group"], own["extra_groups"]) == (None, None, None)


class Placed:
    """As much of a bundle as is needed."""

    inner, line = "/tmp/x", "pass"


@pytest.mark.parametrize(
    ("version", "works", "ways"),
    [
        ((3, 14), True, ["remote"]),
        ((3, 14), False, ["remote", "gdb"]),
        ((3, 13), True, ["gdb"]),
        (None, True, ["gdb"]),
    ],
)
def test_the_ways_in_are_tried_in_order(
    machine: ProcDouble,
    monkeypatch: pytest.MonkeyPatch,
    version: tuple[int, int],
    works: bool,
    ways: list[str],
) -> None:
    tried: list[str] = []

    def remote(*_: object) -> None:
        tried.append("remote")
        if not works:
            raise remote_exec.NoRemoteExec("RuntimeError: disabled")

    monkeypatch.setattr(remote_exec, "run_script", remote)
    monkeypatch.setattr(entering, "queue_line", lambda *_: tried.append("gdb"))
    monkeypatch.setattr(entering, "debugger", lambda: "/usr/bin/gdb")
    machine.add(7)
    facts = process_facts(7, machine.root)
    entering._have_run(facts, Interpreter(version, {}, ()), Placed(), machine.root)  # type: ignore[arg-type]
    assert tried == ways


def test_without_gdb_the_refusal_is_told(machine: ProcDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    def remote(*_: object) -> None:
        raise remote_exec.NoRemoteExec("RuntimeError: disabled")

    monkeypatch.setattr(remote_exec, "run_script", remote)
    monkeypatch.setattr(entering, "debugger", lambda: None)
    machine.add(7)
    facts = process_facts(7, machine.root)
    with pytest.raises(EntryFailed, match=r"sys\.remote_exec: RuntimeError: disabled"):
        entering._have_run(facts, Interpreter((3, 14), {}, ()), Placed(), machine.root)  # type: ignore[arg-type]
