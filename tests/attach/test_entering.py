"""Python processes that are really entered: every interpreter of this machine, and whatever can go wrong."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from plain_targets import BLOCKED, BUSY, ENDED, ENTER, GDB, archive, facts_of, left_behind, pythons, running

from tuimon.attach.discovery import _listening_socket
from tuimon.attach.errors import AttachError
from tuimon.attach.injection import bundle, entering, preflight
from tuimon.attach.injection.entry_errors import (
    DiedEntering,
    EntryBusy,
    EntryFailed,
    GivenUp,
    NotExecuting,
    UnknownProgram,
)
from tuimon.attach.process import PROC, process_facts

pytestmark = pytest.mark.skipif(GDB is None, reason="gdb is not installed")

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can start processes of other users")


@pytest.fixture
def tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The targets' temporary directory, in which nothing may be left behind."""
    (tmp_path / "tmp").mkdir()
    (tmp_path / "runtime" / "tuimon").mkdir(parents=True, mode=0o700)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))
    # These targets have no torch: that check is set aside, and so are compiled kernels.
    monkeypatch.setattr(preflight, "has_torch", lambda *_: True)
    monkeypatch.setattr(preflight, "is_worker", lambda *_: False)
    monkeypatch.setattr(entering, "warm_kernels", lambda *_: None)
    monkeypatch.setattr(bundle, "archive", lambda _compiled: archive())
    yield tmp_path / "tmp"
    assert left_behind(tmp_path / "tmp") == []


def enter(process: subprocess.Popen[str], **how: Callable[[], bool]) -> Path:
    facts = facts_of(process)
    return entering.enter(facts, {}, lambda: _listening_socket(facts, PROC), **how)


def last_words(process: subprocess.Popen[str]) -> tuple[str, str, int]:
    out, err = process.communicate()
    return out, err, process.returncode


@pytest.mark.parametrize("name", pythons())
def test_every_interpreter_is_entered(tmp: Path, name: str) -> None:
    with running(BUSY, pythons()[name]) as process:
        path = enter(process)
        assert path.parent == tmp.parent / "runtime" / "tuimon"
        # No new name in __main__, and only the reader's thread beside the main one.
        assert last_words(process) == (f"entered 1 injected\n{ENDED}", "", 0)


def test_a_program_that_was_renamed_and_deleted_is_entered(tmp: Path, tmp_path: Path) -> None:
    static = pythons().get("distribution")
    if static is None or b"libpython" in subprocess.check_output(["ldd", static]):
        pytest.skip("there is no Python here that is one file")
    program = tmp_path / "solver"
    shutil.copy(static, program)
    # Such as torch it has loaded an extension module, by which it is known for a Python.
    settings = {"env": {**os.environ, "PYTHONHOME": "/usr"}}
    with running(f"import _ctypes\n{BUSY}", str(program), **settings) as process:
        program.unlink()
        enter(process)
        assert last_words(process)[1:] == ("", 0)


def test_two_attachers_at_once_share_one_agent(tmp: Path) -> None:
    with running(BUSY) as process:
        found: list[Path] = []
        attachers = [threading.Thread(target=lambda: found.append(enter(process))) for _ in range(3)]
        for attacher in attachers:
            attacher.start()
        for attacher in attachers:
            attacher.join()
        assert len(found) == 3
        assert len(set(found)) == 1
        assert last_words(process)[0].count("entered") == 1


def test_an_attacher_that_takes_too_long_is_named(tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entering, "DOOR_S", 0.05)
    with running(BUSY) as process:
        facts = facts_of(process)
        with entering._door(facts, PROC, lambda: False), pytest.raises(EntryBusy, match="another tuimon"):
            enter(process)
        assert last_words(process) == (ENDED, "", 0)


def test_a_main_thread_in_one_call_is_not_forced(tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entering, "EXECUTING_S", 0.1)
    with running(BLOCKED) as process:
        with pytest.raises(NotExecuting, match=f"process {process.pid} is not executing Python"):
            enter(process)
        assert left_behind(tmp) == []
        # Later the line does run, finds that it was given up, and says nothing.
        assert last_words(process) == ("ended\n", "", 0)


def test_whoever_leaves_meanwhile_leaves_nothing(tmp: Path) -> None:
    with running(BLOCKED) as process:
        with pytest.raises(GivenUp):
            enter(process, stopped=lambda: True)
        assert last_words(process) == ("ended\n", "", 0)


def test_an_agent_that_does_not_start_says_why(tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = archive("def enter(options):\n    raise OSError('no socket\\nto be had')")
    monkeypatch.setattr(bundle, "archive", lambda _compiled: broken)
    with running(BUSY) as process:
        with pytest.raises(EntryFailed, match="OSError: no socket to be had") as told:
            enter(process)
        assert "\n" not in str(told.value)
        assert last_words(process) == (ENDED, "", 0)


def test_an_agent_that_never_answers_is_given_up(tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entering, "ANSWERING_S", 0.3)
    silent = archive("def enter(options): pass")
    monkeypatch.setattr(bundle, "archive", lambda _compiled: silent)
    with running(BUSY) as process:
        with pytest.raises(EntryFailed, match="has not answered"):
            enter(process)
        assert last_words(process) == (ENDED, "", 0)


def test_a_process_that_ends_before_the_debugger_comes(tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = entering.queue_line
    with running(BUSY) as process:

        def too_late(*arguments: object) -> None:
            process.kill()
            process.wait()
            queue(*arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(entering, "queue_line", too_late)
        with pytest.raises(DiedEntering, match=f"process {process.pid} ended"):
            enter(process)


def test_a_process_that_ends_while_it_is_entered(tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deadly = archive("import os\ndef enter(options): os._exit(3)")
    monkeypatch.setattr(bundle, "archive", lambda _compiled: deadly)
    with running(BUSY) as process, pytest.raises(DiedEntering):
        enter(process)


def test_the_signals_of_a_training_reach_it_while_it_is_entered(tmp: Path) -> None:
    counting = "import signal\nheard = []\nsignal.signal(signal.SIGUSR1, lambda *_: heard.append(1))\n"
    program = counting + BUSY.replace('print("ended"', 'print("heard", len(heard) > 0)\nprint("ended"')
    with running(program) as process:
        ended = threading.Event()

        def signalling() -> None:
            while not ended.wait(0.001):
                process.send_signal(signal.SIGUSR1)

        sender = threading.Thread(target=signalling)
        sender.start()
        try:
            enter(process)
        finally:
            ended.set()
            sender.join()
        out, err, code = last_words(process)
        assert "entered 1" in out
        assert "heard True" in out
        assert (err, code) == ("", 0)


@AS_ROOT
@pytest.mark.skipif(not os.path.exists("/usr/bin/python3"), reason="no Python here that any user may run")
def test_root_enters_the_process_of_another_user(tmp: Path) -> None:
    # pytest's own temporary directory is closed to others.
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        (folder / "tuimon").mkdir(mode=0o700)
        for path in (folder, folder / "tuimon"):
            os.chown(path, 65534, 65534)
        environment = {**os.environ, "XDG_RUNTIME_DIR": name, "TMPDIR": name}
        with running(BUSY, "/usr/bin/python3", user=65534, group=65534, env=environment) as process:
            socket = enter(process)
            assert socket.stat().st_uid == 65534
            assert left_behind(folder) == []
            assert last_words(process) == (f"entered 1 injected\n{ENDED}", "", 0)


@AS_ROOT
@pytest.mark.skipif(shutil.which("unshare") is None, reason="unshare is not installed")
def test_a_process_whose_tmp_is_in_another_mount_namespace_is_entered(tmp: Path) -> None:
    mounted = f"mount -t tmpfs none {tmp} && mount -t tmpfs none {tmp.parent}/runtime && exec "
    command = mounted + f'{sys.executable} -S -c "$0"'
    process = subprocess.Popen(
        ["unshare", "-m", "sh", "-c", command, BUSY],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with ExitStack() as stack:
        stack.callback(process.communicate)
        stack.callback(process.kill)
        assert process.stdout is not None
        if process.stdout.readline() != "busy\n":
            pytest.skip("this machine lets nobody mount")
        path = enter(process)
        inside = Path(f"/proc/{process.pid}/root")
        assert path.is_relative_to(inside)
        assert left_behind(inside / str(tmp).lstrip("/")) == []
        assert last_words(process) == (f"entered 1 injected\n{ENDED}", "", 0)


def test_this_very_process_is_not_entered() -> None:
    with pytest.raises(UnknownProgram, match="this very process"):
        preflight.check(process_facts(os.getpid()))


def test_every_failure_is_one_line_with_its_process() -> None:
    def kinds(kind: type[AttachError]) -> Iterator[type[AttachError]]:
        for below in kind.__subclasses__():
            yield below
            yield from kinds(below)

    from tuimon.attach.injection import entry_errors

    arguments = {
        "version": "Python 3.9", "training": 8, "tracer": 9, "name": "gdb", "why": "so", "remedy": "do",
        "tried": "/tmp: full", "said": "no", "debugger": 9, "waited_s": 10.0, "where": "in f at a.py:3",
    }  # fmt: skip
    leaves = [kind for kind in kinds(entry_errors.EntryError) if not kind.__subclasses__()]
    assert len(leaves) >= 15
    for kind in leaves:
        names = kind.__init__.__code__.co_varnames[2 : kind.__init__.__code__.co_argcount]
        error = kind(7, *(arguments[name] for name in names))
        assert "\n" not in str(error)
        assert "process 7" in str(error)
        assert error.remedy
        assert error.pid == 7


def test_the_stand_in_is_one() -> None:
    assert "def enter(options)" in ENTER
