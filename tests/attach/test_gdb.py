"""What is asked of gdb, and what is made of its answers: of stand-ins (test_entering has the real one)."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tuimon.attach.injection import gdb
from tuimon.attach.injection.elf import Function
from tuimon.attach.injection.entry_errors import (
    DebuggerFailed,
    DebuggerStuck,
    DiedEntering,
    EntryError,
    NoDebugger,
    NoRight,
)
from tuimon.attach.injection.preflight import Interpreter

CALLS = {
    "mmap": Function(0x1000, 0x1010),
    "Py_AddPendingCall": Function(0x2000, 0x2010),
    "PyRun_SimpleString": Function(0x3000, 0x3010),
}
INTERPRETER = Interpreter((3, 11), CALLS, (Function(0x2000, 0x2010), Function(0x4000, 0x4010)))
PID = 7


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program in place of gdb; it is told its arguments, and where to leave things."""
    program = tmp_path / "gdb"
    monkeypatch.setattr(gdb, "debugger", lambda: str(program))
    monkeypatch.setenv("FOLDER", str(tmp_path))
    return program


def answers(program: Path, script: str) -> None:
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o700)


def test_the_commands() -> None:
    text = gdb.script(INTERPRETER, 'try:x("a\\n")\nexcept:pass\n')
    assert "($pc >= 0x2000 && $pc < 0x2010) || ($pc >= 0x4000 && $pc < 0x4010)" in text
    assert "(int,int,long)" not in text
    assert "0x1000)(0,4096,3,0x22,-1,0)" in text
    # What means something to gdb goes by number, the line's ends as well.
    assert r'"try:x(\042a\134n\042)\012except:pass\012"' in text
    assert "0x2000)((void*)0x3000,$page) == 0" in text


def test_a_long_line_gets_as_many_pages_as_it_needs() -> None:
    assert "(0,8192,3" in gdb.script(INTERPRETER, "x" * 5000)


def test_what_it_runs_in(stand_in: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    monkeypatch.setenv("PYTHONHOME", "/nowhere")
    answers(
        stand_in,
        f'env > $FOLDER/env; cat /proc/$$/stat > $FOLDER/stat; echo "$@" > $FOLDER/args; echo "{gdb._DONE}"',
    )
    gdb.queue_line(PID, INTERPRETER, "pass")
    assert "PYTHON" not in (tmp_path / "env").read_text()
    assert "FOLDER=" in (tmp_path / "env").read_text()
    arguments = (tmp_path / "args").read_text()
    assert "-batch -nx" in arguments
    assert "-p 7" in arguments
    # It leads a session of its own: Ctrl-C in this terminal does not reach it.
    pid, *_, session = (tmp_path / "stat").read_text().split()[:6]
    assert session == pid


@pytest.mark.parametrize(
    ("said", "kind", "says"),
    [
        ("ptrace: Operation not permitted.", NoRight, "refuses gdb"),
        ("Could not attach to process.  If your uid matches", NoRight, "tuimon run"),
        ("ptrace: No such process.", DiedEntering, "process 7 ended"),
        ("warning: x\nCannot access memory at address 0x1000", DebuggerFailed, "Cannot access memory"),
        ("tuimon: no page", DebuggerFailed, "no memory left"),
        ("", DebuggerFailed, "it said nothing"),
    ],
)
def test_failures_are_told_apart(stand_in: Path, said: str, kind: type[EntryError], says: str) -> None:
    answers(stand_in, f"printf '%s\\n' '{said}'")
    with pytest.raises(kind, match=says):
        gdb.queue_line(PID, INTERPRETER, "pass")


def test_a_main_thread_inside_of_the_queue_is_met_again(stand_in: Path, tmp_path: Path) -> None:
    first = 'mkdir "$FOLDER/second" 2>/dev/null'
    answers(stand_in, f'if {first}; then echo "tuimon: inside"; else echo "tuimon: queued"; fi')
    gdb.queue_line(PID, INTERPRETER, "pass")
    assert (tmp_path / "second").is_dir()


def test_one_that_is_always_inside_is_given_up(stand_in: Path) -> None:
    answers(stand_in, 'echo "tuimon: inside"')
    with pytest.raises(DebuggerFailed, match="each time"):
        gdb.queue_line(PID, INTERPRETER, "pass")


def test_a_gdb_that_does_not_return_is_left_alone(stand_in: Path) -> None:
    answers(stand_in, "exec sleep 100")
    with pytest.raises(DebuggerStuck, match="leave it alone") as told:
        gdb.queue_line(PID, INTERPRETER, "pass", patience_s=0.1)
    debugger = int(str(told.value).split("process ")[1].split(")")[0])
    os.kill(debugger, 0)  # it lives
    os.kill(debugger, signal.SIGKILL)
    os.waitpid(debugger, 0)


def test_no_gdb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gdb, "debugger", lambda: None)
    with pytest.raises(NoDebugger, match="apt install gdb"):
        gdb.queue_line(PID, INTERPRETER, "pass")


def test_ctrl_c_waits_for_a_gdb_that_is_about_to_be_done(
    stand_in: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers(stand_in, 'read x < "$FOLDER/go"; echo done > "$FOLDER/done"')
    os.mkfifo(tmp_path / "go")
    wait, calls = gdb.subprocess.Popen.wait, []

    def interrupted(self: object, timeout: float | None = None) -> int:
        calls.append(time.monotonic())
        if len(calls) == 1:
            raise KeyboardInterrupt
        (tmp_path / "go").write_text("\n")
        return int(wait(self, timeout))  # type: ignore[arg-type]

    monkeypatch.setattr(gdb.subprocess.Popen, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        gdb.queue_line(PID, INTERPRETER, "pass")
    assert (tmp_path / "done").exists()
