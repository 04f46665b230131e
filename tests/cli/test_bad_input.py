"""What cannot be done is said in one line, with what to do, and the documented exit code."""

from __future__ import annotations

import json
import mmap
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from agent_double import serving
from command_line import PID, Agent, Ran, Tuimon

from tuimon.attach.injection import entering
from tuimon.cli import following, training
from tuimon.cli.main import run
from tuimon.wire.unix import bind_unix

VERBS = ("attach", "record", "detach")


@contextmanager
def running(*command: str, **environment: str) -> Iterator[int]:
    """The pid of a process that has started its program and waits."""
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, **environment}
    )
    assert process.stdout is not None
    process.stdout.readline()
    try:
        yield process.pid
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("verb", VERBS)
def test_a_pid_that_names_no_process(tuimon: Tuimon, verb: str) -> None:
    free = 2**22 + 1  # above the kernel's largest pid
    ran = tuimon(verb, free)
    assert ran.code == 1
    assert f"no process {free}" in ran.only_line
    assert "tuimon list" in ran.only_line


@pytest.mark.parametrize("verb", VERBS)
def test_the_process_of_another_user(
    verb: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 12345)
    code = run([verb, str(PID)])
    told = Ran(code, *capfd.readouterr())
    assert told.code == 1
    assert str(PID) in told.only_line
    assert "belongs to user" in told.only_line


@pytest.mark.parametrize("verb", VERBS)
def test_a_process_that_is_no_python(tuimon: Tuimon, verb: str) -> None:
    with running("sh", "-c", "echo; exec cat") as pid:
        ran = tuimon(verb, pid)
    assert ran.code == 1
    assert str(pid) in ran.only_line
    assert "runs no Python" in ran.only_line


def test_a_python_that_trains_nothing(tuimon: Tuimon) -> None:
    with running(sys.executable, "-S", "-c", "print(flush=True); input()") as pid:
        ran = tuimon("attach", pid)
    assert ran.code == 1
    assert f"process {pid} has not loaded PyTorch" in ran.only_line


@pytest.mark.skipif(shutil.which("gdb") is None, reason="gdb is not installed")
def test_a_training_that_is_inside_one_call_is_not_entered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(entering, "EXECUTING_S", 0.1)
    monkeypatch.setattr(entering, "warm_kernels", lambda *_: None)
    library = tmp_path / "libtorch_double.so"
    library.write_bytes(bytes(mmap.PAGESIZE))
    program = (
        "import mmap, sys; file = open(sys.argv[1], 'r+b'); "
        "mapped = mmap.mmap(file.fileno(), 0); print(flush=True); input()"
    )
    with running(sys.executable, "-S", "-c", program, str(library)) as pid:
        code = run(["record", str(pid)])
    told = Ran(code, *capfd.readouterr())
    assert (told.code, told.out) == (1, "")
    before, line = told.err.splitlines()
    assert before.startswith(f"entering process {pid}: it pauses")
    assert f"process {pid} is not executing Python" in line


@pytest.mark.parametrize("verb", VERBS)
def test_a_file_is_not_a_training(tuimon: Tuimon, verb: str) -> None:
    ran = tuimon(verb, __file__)
    assert ran.code == 1
    what = "is a file, not a training" if verb == "detach" else "is no recording"
    assert ran.only_line.startswith(f"tuimon: {__file__} {what}")


@pytest.mark.parametrize("target", ["0", "-1", "gpu box", "٣"])
def test_a_target_that_is_nothing(tuimon: Tuimon, target: str) -> None:
    ran = tuimon("attach", "--", target)
    assert ran.code == 2
    assert "no process id" in ran.only_line


def test_a_socket_that_nobody_listens_at(tuimon: Tuimon, own_socket: Path) -> None:
    bind_unix(own_socket).close()
    ran = tuimon("attach", PID)
    assert ran.code == 1
    assert "has stopped listening" in ran.only_line


def test_an_agent_of_another_version(tuimon: Tuimon, agent: Agent) -> None:
    header = json.dumps({"v": 99, "type": "hello", "arrays": []}).encode()
    payload = struct.pack("<I", len(header)) + header
    agent(struct.pack("<I", len(payload)) + payload)
    ran = tuimon("record", PID, "--json")
    assert ran.code == 1
    assert "99" in ran.only_line
    assert "restart" in ran.only_line


def test_an_agent_that_talks_nonsense(tuimon: Tuimon, agent: Agent) -> None:
    agent(b"\x10\x00\x00\x00" + b"nonsense" * 2)
    ran = tuimon("record", PID)
    assert ran.code == 1
    assert "cannot be read" in ran.only_line


def test_an_agent_that_hangs_up_is_given_up_in_the_end(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], runtime: Path, own_socket: Path
) -> None:
    monkeypatch.setattr(following, "PATIENCE_S", 0.0)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    with serving(own_socket, lambda _connection, _served: None):
        told = Ran(run(["record", str(PID)]), *capfd.readouterr())
    assert told.code == 1
    assert "the connection ended" in told.only_line


def test_a_training_that_ends_before_it_said_a_word(tuimon: Tuimon, runtime: Path) -> None:
    code = (
        "import os\n"
        "from tuimon.wire.paths import process_start_ticks, socket_path\n"
        "from tuimon.wire.unix import bind_unix\n"
        "pid = os.getpid()\n"
        "server = bind_unix(socket_path(pid, process_start_ticks(pid)))\n"
        "print(flush=True)\n"
        "while not server.accept()[0].recv(1):\n"
        "    pass\n"
    )
    with running(sys.executable, "-c", code, XDG_RUNTIME_DIR=str(runtime)) as pid:
        ran = tuimon("record", pid)
    assert ran.code == 1
    assert "has ended" in ran.only_line


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("record", "1", "--for", "soon"), "no duration"),
        (("record", "1", "--for", "0s"), "no duration"),
        (("record", "1", "--steps", "0"), "--steps"),
        (("record", "1", "--every", "-3"), "--every"),
        (("record", "1", "--budget", "2"), "no share"),
        (("record", "1", "--budget", "nan"), "no share"),
        (("record", "1", "--every", "2", "--budget", "1%"), "exclude each other"),
        (("record", "1", "--tensors"), "--json"),
        (("record", "1", "--fail-on", "death"), "--fail-on"),
        (("record",), "TARGET"),
        (("demo", "--scenario", "healthy"), "--scenario"),
        (("explain", "loss_is_boring"), "dead_neurons"),
        (("detatch",), "detatch"),
        (("--frobnicate",), "--frobnicate"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...], said: str, capfd: pytest.CaptureFixture[str]) -> None:
    told = Ran(run(arguments), *capfd.readouterr())
    assert told.code == 2
    assert said in told.only_line


def test_no_verb_shows_the_help(capfd: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 2
    assert "attach" in capfd.readouterr().out


def test_a_demo_without_pytorch(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(training, "find_spec", lambda _name: None)
    told = Ran(run(["demo"]), *capfd.readouterr())
    assert told.code == 1
    assert "pip install 'tuimon[train]'" in told.only_line


def test_a_demo_whose_training_does_not_start(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(training, "find_spec", lambda _name: object())
    monkeypatch.setattr(training, "CHILD", "tuimon.demo.nothing")
    told = Ran(run(["demo"]), *capfd.readouterr())
    assert told.code == 1
    assert "tuimon.demo.nothing" in told.only_line
