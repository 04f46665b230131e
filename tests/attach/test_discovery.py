"""Which trainings are found, and why one cannot attach to the others."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from agent_double import GREETING, HELLO, frames, sample, saying, serving, until
from proc_double import ProcDouble, proc_double

from tuimon.attach.discovery import TrainingProcess, attach_to, find_socket, list_trainings
from tuimon.attach.errors import (
    AttachError,
    NoAgent,
    NoSuchProcess,
    NoTorch,
    NotPython,
    OtherUser,
    StaleSocket,
)
from tuimon.attach.events import Ended
from tuimon.attach.injection import preflight
from tuimon.attach.mailbox import Mailbox
from tuimon.attach.process import is_running
from tuimon.records.sample import Bye
from tuimon.wire.paths import process_start_ticks, socket_directory, socket_path
from tuimon.wire.unix import bind_unix


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ProcDouble:
    (tmp_path / "runtime").mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))
    return proc_double(tmp_path / "proc")


@pytest.fixture
def agents() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def listen(agents: ExitStack, pid: int, *chunks: bytes, directory: Path | None = None) -> Path:
    path = socket_path(pid, 100 * pid, directory)
    agents.enter_context(serving(path, saying(*(chunks or (GREETING + frames(sample(41)),)))))
    return path


def listed(machine: ProcDouble) -> dict[int, TrainingProcess]:
    return {training.pid: training for training in list_trainings(machine.root, timeout_s=30.0)}


def test_a_training_with_an_agent_introduces_itself(machine: ProcDouble, agents: ExitStack) -> None:
    path = listen(agents, machine.add(7))
    (training,) = list_trainings(machine.root, timeout_s=30.0)
    assert training == TrainingProcess(
        pid=7,
        user=training.user,
        command=("python", "train.py"),
        name="train",
        framework="torch 2.13.0",
        devices=("cpu",),
        step=41,
        attachable=True,
        word="yes",
        reason=None,
        socket=path,
    )
    assert find_socket(7, machine.root) == path


def test_a_training_without_tuimon_is_listed_as_one_to_enter(
    machine: ProcDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "debugger", lambda: "/usr/bin/gdb")
    machine.add(7)
    training = listed(machine)[7]
    assert (training.attachable, training.enters, training.reason) == (True, True, None)
    assert (training.socket, training.step, training.name) == (None, None, None)
    with pytest.raises(NoAgent, match="`tuimon attach 7` enters it"):
        find_socket(7, machine.root)


def test_a_training_that_cannot_be_entered_is_listed_with_the_reason(machine: ProcDouble) -> None:
    machine.add(7, tracer=8)
    training = listed(machine)[7]
    assert (training.attachable, training.enters) == (False, False)
    assert training.reason is not None
    assert "held by the debugger 8" in training.reason


def test_a_training_that_ends_while_it_is_looked_at_is_not_listed(machine: ProcDouble) -> None:
    machine.add(7, debuggable=False)
    assert listed(machine) == {}


def test_what_only_serves_a_training_is_not_listed(machine: ProcDouble, agents: ExitStack) -> None:
    listen(agents, machine.add(7))
    machine.add(8, parent=7)  # a forked DataLoader worker
    machine.add(9, command=("python", "-c", "from multiprocessing.spawn import spawn_main; spawn_main()"))
    machine.add(10, command=("python", "-c", "from multiprocessing.resource_tracker import main; main(3)"))
    machine.add(11, command=("python", "/v/torch/_inductor/compile_worker/__main__.py", "--workers=2"))
    machine.add(12, command=("python", "/venv/bin/torchrun", "--nproc-per-node=2", "other.py"))
    machine.add(13, command=("python", "other.py"), parent=12)  # one of its ranks
    machine.add(14, command=("python", "-m", "torch.distributed.run", "other.py"))
    machine.add(15, command=("python", "torchrun-experiments/train.py"))
    assert sorted(listed(machine)) == [7, 13, 15]


def test_a_rank_that_looks_like_a_worker_is_found_by_its_agent(
    machine: ProcDouble, agents: ExitStack
) -> None:
    machine.add(7)
    rank = machine.add(8, parent=7, command=("python", "-c", "from multiprocessing.spawn import spawn_main"))
    listen(agents, rank)
    assert listed(machine)[8].attachable


def test_other_programs_are_not_listed(machine: ProcDouble) -> None:
    machine.add(7, maps="7f00-7f01 r-xp 0 0 0 /usr/lib/libc.so\n")
    machine.add(8, exe="/usr/bin/vim", command=("vim", "train.py"))
    machine.add(9, state="Z (zombie)")
    machine.add(10, command=())  # a kernel thread
    machine.add(os.getpid())  # the viewer itself
    assert listed(machine) == {}


def test_python_inside_another_program_is_found(machine: ProcDouble) -> None:
    maps = "7f00-7f01 r-xp 0 0 0 /usr/lib/libpython3.12.so.1.0\n7f02-7f03 r-xp 0 0 0 /x/libtorch_cpu.so\n"
    machine.add(7, exe="/opt/solver", command=("/opt/solver",), maps=maps)
    assert list(listed(machine)) == [7]


def test_agents_that_cannot_be_understood_are_listed_with_the_reason(
    machine: ProcDouble, agents: ExitStack
) -> None:
    listen(agents, machine.add(7), frames(HELLO).replace(b'"v":1', b'"v":9'))
    listen(agents, machine.add(8), b"\x01\0\0\0x")
    for pid, why in ((7, "version 9"), (8, "cannot be read")):
        training = listed(machine)[pid]
        assert not training.attachable
        assert training.reason is not None
        assert why in training.reason


def test_a_socket_of_a_process_that_had_the_same_pid_is_not_its_own(
    machine: ProcDouble, agents: ExitStack
) -> None:
    machine.add(7)
    agents.enter_context(serving(socket_path(7, 699), saying(GREETING)))
    assert listed(machine)[7].socket is None
    with pytest.raises(NoAgent):
        find_socket(7, machine.root)


def test_the_runtime_directory_is_that_of_the_training(
    machine: ProcDouble, agents: ExitStack, tmp_path: Path
) -> None:
    (tmp_path / "batch" / "tuimon").mkdir(parents=True)
    machine.add(7, environ={"XDG_RUNTIME_DIR": str(tmp_path / "batch")})
    path = listen(agents, 7, directory=tmp_path / "batch" / "tuimon")
    assert find_socket(7, machine.root) == path


def test_a_container_is_looked_into_through_its_root(
    machine: ProcDouble, agents: ExitStack, tmp_path: Path
) -> None:
    inside = tmp_path / "inside"
    (inside / "run" / "tuimon").mkdir(parents=True)
    machine.add(7, inner_pid=3, mount_namespace=2, environ={"XDG_RUNTIME_DIR": "/run"})
    (machine.root / "7" / "root").symlink_to(inside)
    agents.enter_context(serving(inside / "run" / "tuimon" / "3-700.sock", saying(GREETING)))
    assert find_socket(7, machine.root) == machine.root / "7" / "root" / "run" / "tuimon" / "3-700.sock"


def stale(machine: ProcDouble) -> None:
    machine.add(7)
    bind_unix(socket_path(7, 700)).close()


CASES = [
    (lambda machine: None, NoSuchProcess, "there is no process 7; `tuimon list`"),
    (lambda machine: machine.add(7, state="Z (zombie)"), NoSuchProcess, "there is no process 7"),
    (
        lambda machine: machine.add(7, exe="/bin/cat", command=("cat", "x"), maps=""),
        NotPython,
        "(cat x) runs no Python",
    ),
    (lambda machine: machine.add(7, maps=""), NoTorch, "has not loaded PyTorch; wait"),
    (lambda machine: machine.add(7), NoAgent, "not inside process 7"),
    (stale, StaleSocket, "has stopped listening at"),
]


def test_an_agent_that_does_not_answer_is_listed_with_that(machine: ProcDouble, agents: ExitStack) -> None:
    agents.enter_context(serving(socket_path(machine.add(7), 700), saying()))
    (training,) = list_trainings(machine.root, timeout_s=0.001)
    assert not training.attachable
    assert training.reason is not None
    assert "did not answer" in training.reason


@pytest.mark.parametrize(("arrange", "error", "words"), CASES, ids=[c[1].__name__ + c[2][:9] for c in CASES])
def test_every_reason_has_its_name_and_its_remedy(
    machine: ProcDouble, arrange: object, error: type[AttachError], words: str
) -> None:
    assert callable(arrange)
    arrange(machine)
    with pytest.raises(error) as caught:
        find_socket(7, machine.root)
    assert words in str(caught.value)
    assert caught.value.pid == 7
    assert "\n" not in str(caught.value)


def test_another_users_process_is_named(machine: ProcDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.add(7, uid=4242)
    monkeypatch.setattr(os, "geteuid", lambda: 4243)
    with pytest.raises(OtherUser, match="belongs to user 4242; run tuimon as 4242, or as root"):
        find_socket(7, machine.root)
    assert listed(machine) == {}


def test_a_training_is_followed_by_its_pid(machine: ProcDouble, agents: ExitStack) -> None:
    listen(agents, machine.add(7), GREETING + frames(sample(1), Bye("finished")))
    box = Mailbox()
    source = attach_to(7, box.put, proc=machine.root)
    source.start()
    assert sample(1) in until(box, Ended)
    assert source.join(30.0)


def test_a_process_counts_as_running_until_it_ends(machine: ProcDouble) -> None:
    machine.add(7)
    machine.add(8, state="Z (zombie)")
    assert is_running(7, 700, machine.root)
    assert not is_running(7, 699, machine.root)
    assert not is_running(8, 800, machine.root)
    assert not is_running(9, 900, machine.root)


def test_real_processes_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    own = os.getpid()
    ticks = process_start_ticks(own)
    assert is_running(own, ticks)
    with serving(socket_path(own, ticks), saying(GREETING)):
        assert find_socket(own) == socket_directory() / f"{own}-{ticks}.sock"
        (tmp_path / "proc").mkdir()
        for name in (str(own), "self"):
            (tmp_path / "proc" / name).symlink_to(f"/proc/{own}")
        (training,) = list_trainings(tmp_path / "proc", timeout_s=30.0)
        assert (training.pid, training.attachable) == (own, True)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        with pytest.raises(NoTorch):
            find_socket(other.pid)
        other.communicate(b"\n")
    with pytest.raises(NoSuchProcess):
        find_socket(other.pid)


def test_listing_is_by_pid(machine: ProcDouble, agents: ExitStack) -> None:
    for pid in (30, 4, 200):
        machine.add(pid, command=("python", f"train{pid}.py"))
    listen(agents, 30)
    assert [training.pid for training in list_trainings(machine.root, timeout_s=30.0)] == [4, 30, 200]
    assert replace(listed(machine)[4], pid=200, command=listed(machine)[200].command) == listed(machine)[200]
