"""Launchers and ranks, told apart by what the kernel shows of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from proc_double import ProcDouble, proc_double

from tuimon.attach.process import all_processes
from tuimon.attach.ranks import Processes, one_job

TORCHRUN = ("/venv/bin/python", "/venv/bin/torchrun", "--nproc-per-node", "2", "train.py")
RUN_MODULE = ("python", "-m", "torch.distributed.run", "train.py")
SPAWNED = ("python", "-c", "from multiprocessing.spawn import spawn_main; spawn_main(tracker_fd=5)")
TRACKER = ("python", "-c", "from multiprocessing.resource_tracker import main;main(6)")
NO_TORCH = "7f00-7f01 r-xp 0 0 0 /usr/lib/libc.so.6\n"


@pytest.fixture
def machine(tmp_path: Path) -> ProcDouble:
    return proc_double(tmp_path / "proc")


@pytest.fixture
def torch_maps(tmp_path: Path) -> str:
    """What is mapped of a PyTorch that gives its workers a name."""
    folder = tmp_path / "torch"
    (folder / "lib").mkdir(parents=True)
    (folder / "version.py").write_text("__version__ = '2.13.0'\n")
    return f"7f00-7f01 r-xp 0 0 0 {folder}/lib/libtorch_cpu.so\n"


def seen(machine: ProcDouble, *watched: int) -> Processes:
    return Processes(all_processes(machine.root), watched, machine.root)


def told(machine: ProcDouble, *watched: int) -> list[tuple[int, int | None, int | None, int | None]]:
    trainings = seen(machine, *watched).trainings()
    return [(t.facts.pid, t.rank, t.world_size, t.launcher) for t in trainings]


def below(machine: ProcDouble, pid: int, *watched: int) -> list[int]:
    return [t.facts.pid for t in seen(machine, *watched).below(pid)]


def ranks(machine: ProcDouble, launcher: int, *pids: int) -> None:
    for pid, rank in zip(pids, reversed(range(len(pids))), strict=True):
        environ = {"RANK": str(rank), "WORLD_SIZE": str(len(pids))}
        machine.add(pid, parent=launcher, environ=environ, command=("python", "train.py"))


@pytest.mark.parametrize("command", [TORCHRUN, RUN_MODULE])
def test_torchrun_stands_for_its_ranks(machine: ProcDouble, command: tuple[str, ...]) -> None:
    machine.add(10, command=command)
    ranks(machine, 10, 11, 12)
    assert told(machine) == [(11, 1, 2, 10), (12, 0, 2, 10)]
    assert below(machine, 10) == [12, 11]
    assert below(machine, 11) == []


def test_so_does_whoever_started_torchrun(machine: ProcDouble) -> None:
    machine.add(8, command=("tuimon", "run", "--", "bash", "train.sh"), maps=NO_TORCH)
    machine.add(9, command=("bash", "train.sh"), exe="/bin/bash", maps=NO_TORCH, parent=8)
    machine.add(10, command=TORCHRUN, parent=9)
    ranks(machine, 10, 11, 12)
    assert below(machine, 8) == below(machine, 9) == [12, 11]
    assert seen(machine).below(8)[0].label == "rank 0 of 2, process 12"


def test_workers_are_no_ranks_whatever_their_variables_say(machine: ProcDouble, torch_maps: str) -> None:
    machine.add(10, command=TORCHRUN)
    environ = {"RANK": "0", "WORLD_SIZE": "1"}
    machine.add(11, parent=10, environ=environ, maps=torch_maps)
    machine.add(12, parent=11, environ=environ, maps=torch_maps, comm="pt_data_worker")
    machine.add(13, parent=11, environ=environ, maps=torch_maps, command=SPAWNED, comm="pt_data_worker")
    machine.add(14, parent=11, environ=environ, maps=NO_TORCH, command=TRACKER)
    assert told(machine) == [(11, 0, 1, 10)]
    assert below(machine, 10) == [11]


def test_spawned_ranks_are_numbered_as_they_were_started(machine: ProcDouble, torch_maps: str) -> None:
    machine.add(10, command=("python", "spawning.py"), maps=torch_maps)
    machine.add(11, parent=10, command=TRACKER, maps=NO_TORCH)
    machine.add(12, parent=10, command=SPAWNED, maps=torch_maps)
    machine.add(13, parent=10, command=SPAWNED, maps=torch_maps)
    machine.add(14, parent=13, command=SPAWNED, maps=torch_maps, comm="pt_data_worker")
    assert told(machine) == [(12, 0, 2, 10), (13, 1, 2, 10)]
    assert below(machine, 10) == [12, 13]
    # With agents in them it is the same.
    assert told(machine, 12, 13) == [(12, 0, 2, 10), (13, 1, 2, 10)]


def test_a_training_with_spawned_workers_is_no_launcher(machine: ProcDouble, torch_maps: str) -> None:
    machine.add(10, maps=torch_maps)
    machine.add(11, parent=10, command=SPAWNED, maps=torch_maps, comm="pt_data_worker")
    assert told(machine) == [(10, None, None, None)]
    # Not even while a worker has no name yet, if an agent is inside.
    machine.add(12, parent=10, command=SPAWNED, maps=torch_maps)
    assert told(machine, 10) == [(10, None, None, None)]
    assert below(machine, 10, 10) == []


def test_where_workers_have_no_name_only_an_agent_tells_a_spawned_rank(machine: ProcDouble) -> None:
    machine.add(10, command=("python", "spawning.py"))
    machine.add(11, parent=10, command=SPAWNED)
    assert told(machine) == [(10, None, None, None)]
    assert told(machine, 11) == [(11, 0, 1, 10)]
    assert below(machine, 10, 11) == [11]


def test_what_starts_no_training_stands_for_none(machine: ProcDouble) -> None:
    machine.add(9, command=("bash",), exe="/bin/bash", maps=NO_TORCH)
    machine.add(10, parent=9, maps=NO_TORCH)
    assert below(machine, 9) == below(machine, 10) == below(machine, 4242) == []


def test_trainings_of_one_shell_are_no_ranks_of_one_job(machine: ProcDouble) -> None:
    machine.add(9, command=("bash",), exe="/bin/bash", maps=NO_TORCH)
    machine.add(11, parent=9, command=("python", "one.py"))
    assert one_job(seen(machine).below(9))
    machine.add(12, parent=9, command=("python", "other.py"))
    assert below(machine, 9) == [11, 12]
    assert not one_job(seen(machine).below(9))


def test_the_ranks_of_two_launchers_are_two_jobs(machine: ProcDouble) -> None:
    machine.add(9, command=("bash",), exe="/bin/bash", maps=NO_TORCH)
    for launcher in (10, 20):
        machine.add(launcher, parent=9, command=TORCHRUN)
        machine.add(launcher + 1, parent=launcher, environ={"RANK": "0", "WORLD_SIZE": "1"})
    assert one_job(seen(machine).below(10))
    assert not one_job(seen(machine).below(9))
