"""Which processes may be entered, and what those are told that may not; without touching any of them."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from plain_targets import BUSY, facts_of, running
from proc_double import TORCH_MAPS, ProcDouble, proc_double

from tuimon.attach.errors import AttachError, NoSuchProcess, NoTorch, NotPython, OtherUser
from tuimon.attach.injection import elf, preflight
from tuimon.attach.injection.entry_errors import (
    DataWorker,
    HeldProcess,
    NoDebugger,
    NoRight,
    OldPython,
    TracedProcess,
    UnknownProgram,
)
from tuimon.attach.process import process_facts

OWN_MAPS = "7f00-7f01 r-xp 0 0 0 /v/lib/python3.9/site-packages/torch/_C.cpython-39-x86_64-linux-gnu.so\n"
NO_TORCH = "7f00-7f01 r-xp 0 0 0 /lib/libc.so.6\n"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ProcDouble:
    monkeypatch.setattr(preflight, "debugger", lambda: "/usr/bin/gdb")
    return proc_double(tmp_path / "proc")


def refusal(machine: ProcDouble, pid: int) -> AttachError:
    with pytest.raises(AttachError) as told:
        preflight.check(process_facts(pid, machine.root), machine.root)
    assert "\n" not in str(told.value)
    return told.value


def passes(machine: ProcDouble, pid: int) -> None:
    preflight.check(process_facts(pid, machine.root), machine.root)


def test_a_training_passes(machine: ProcDouble) -> None:
    passes(machine, machine.add(7))


@pytest.mark.parametrize(
    ("settings", "kind", "says"),
    [
        ({"uid": os.geteuid() + 5}, OtherUser, "belongs to user"),
        ({"exe": "/bin/sh", "command": ("sh",), "maps": NO_TORCH}, NotPython, "no Python"),
        ({"maps": NO_TORCH}, NoTorch, "has not loaded PyTorch"),
        ({"maps": TORCH_MAPS + OWN_MAPS}, OldPython, "runs Python 3.9"),
        ({"maps": TORCH_MAPS, "exe": "/usr/bin/python3.8"}, OldPython, "runs Python 3.8"),
        ({"maps": TORCH_MAPS + "0-1 r 0 0 0 /lib/libpypy3.10-c.so\n"}, OldPython, "runs PyPy"),
        ({"comm": "pt_data_worker", "parent": 3}, DataWorker, "attach to 3"),
        ({"tracer": 3}, TracedProcess, "debugger 3 (any)"),
        ({"state": "T (stopped)"}, HeldProcess, "kill -CONT 7"),
        ({"debuggable": False}, NoSuchProcess, "no process 7"),
    ],
)
def test_what_cannot_be_entered(
    machine: ProcDouble, monkeypatch: pytest.MonkeyPatch, settings: dict[str, object], kind: type, says: str
) -> None:
    if kind is OtherUser:
        uid = os.geteuid() or 1000
        monkeypatch.setattr(os, "geteuid", lambda: uid)
    machine.add(3, command=("bash",), maps="")
    machine.add(7, **settings)  # type: ignore[arg-type]
    told = refusal(machine, 7)
    assert type(told) is kind
    assert says in str(told)


def test_a_forked_worker_has_its_parents_command_line(machine: ProcDouble) -> None:
    machine.add(3)
    assert isinstance(refusal(machine, machine.add(7, parent=3)), DataWorker)


def test_a_forked_rank_is_told_from_a_worker_where_torch_names_those(
    machine: ProcDouble, tmp_path: Path
) -> None:
    torch = tmp_path / "torch"
    (torch / "lib").mkdir(parents=True)
    maps = f"0-1 r 0 0 0 {torch}/lib/libtorch_cpu.so\n"
    machine.add(3, maps=maps)
    machine.add(7, maps=maps, parent=3)
    machine.add(8, maps=maps, parent=3, comm="pt_data_worker")
    (torch / "version.py").write_text("__version__ = '2.13.0+cpu'\n")
    passes(machine, 7)
    assert isinstance(refusal(machine, 8), DataWorker)
    (torch / "version.py").write_text("__version__ = '2.5.1'\n")
    assert isinstance(refusal(machine, 7), DataWorker)


def test_a_parent_that_trains_nothing_makes_no_worker(machine: ProcDouble) -> None:
    machine.add(3, maps="0-1 r 0 0 0 /lib/libc.so\n")
    passes(machine, machine.add(7, parent=3))


def test_without_gdb_only_python_from_3_14_on_is_entered(
    machine: ProcDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "debugger", lambda: None)
    told = refusal(machine, machine.add(7))
    assert isinstance(told, NoDebugger)
    assert "apt install gdb" in str(told)
    assert "tuimon run" in str(told)
    newer = TORCH_MAPS + "0-1 r 0 0 0 /v/torch/_C.cpython-314-x86_64-linux-gnu.so\n"
    passes(machine, machine.add(8, maps=newer, exe="/usr/bin/python3.14"))


@pytest.fixture
def refused(machine: ProcDouble, monkeypatch: pytest.MonkeyPatch) -> Iterator[ProcDouble]:
    """The kernel lets nobody look into any process, and this one has no capability."""

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "no")

    monkeypatch.setattr(preflight, "open_memory", refuse)
    monkeypatch.setattr(preflight, "may_trace_all", lambda: False)
    machine.add(7)
    return machine


@pytest.mark.parametrize(
    ("scope", "says"),
    [
        ("1", "lets only root use debuggers (kernel.yama.ptrace_scope is 1); run tuimon as root (sudo), or"),
        ("3", "forbids debuggers (kernel.yama.ptrace_scope is 3); start it with `tuimon run"),
        ("0", "the kernel refuses debuggers here"),
        (None, "the kernel refuses debuggers here"),
    ],
)
def test_no_right_says_what_helps(refused: ProcDouble, scope: str | None, says: str) -> None:
    yama = refused.root / "sys" / "kernel" / "yama"
    yama.mkdir(parents=True)
    if scope is not None:
        (yama / "ptrace_scope").write_text(f"{scope}\n")
    told = refusal(refused, 7)
    assert isinstance(told, NoRight)
    assert says in str(told)
    assert "tuimon run" in str(told)


def test_a_process_with_more_capabilities_is_told_as_such(refused: ProcDouble) -> None:
    status = refused.root / "7" / "status"
    status.write_text(status.read_text() + "CapEff:\t00000000000000ff\n")
    assert "capabilities that this process lacks" in str(refusal(refused, 7))
    assert "--cap-add=SYS_PTRACE" in str(refusal(refused, 7))


def test_a_process_that_hides_its_memory_is_told_as_such(
    refused: ProcDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = process_facts(7, refused.root)
    monkeypatch.setattr(os, "geteuid", lambda: facts.uid + 1 if facts.uid else 0)
    os.chown(refused.root / "7", -1, -1)
    hidden = refused.add(8, uid=facts.uid + 1)
    if os.geteuid() != 0:
        pytest.skip("only root sees a process of somebody else's as its own")
    assert "not dumpable" in str(refusal(refused, hidden))


def test_a_stopped_process_is_told_how_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "has_torch", lambda *_: True)
    monkeypatch.setattr(preflight, "is_worker", lambda *_: False)
    with running(BUSY) as process:
        process.send_signal(signal.SIGSTOP)
        os.waitpid(process.pid, os.WUNTRACED)
        with pytest.raises(HeldProcess, match=f"kill -CONT {process.pid}"):
            preflight.check(facts_of(process))


def test_a_process_that_is_debugged_is_left_to_its_debugger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "has_torch", lambda *_: True)
    monkeypatch.setattr(preflight, "is_worker", lambda *_: False)
    with running(BUSY) as process:
        seize = 0x4206
        if ctypes.CDLL(None).ptrace(seize, process.pid, None, None) != 0:
            pytest.skip("this machine lets nobody debug")
        with pytest.raises(TracedProcess, match=f"held by the debugger {os.getpid()}"):
            preflight.check(facts_of(process))


@pytest.mark.parametrize(
    ("maps", "exe", "version"),
    [
        ("/v/_C.cpython-312-x86_64-linux-gnu.so", "/opt/solver", (3, 12)),
        ("/v/_C.cpython-313t-x86_64-linux-gnu.so", "/opt/solver", (3, 13)),
        ("/usr/lib/libpython3.10.so.1.0", "/opt/solver", (3, 10)),
        ("/lib/libc.so.6", "/usr/bin/python3.11", (3, 11)),
        ("/lib/libc.so.6", "/usr/bin/python3.11 (deleted)", (3, 11)),
        ("/lib/libc.so.6", "/opt/solver", None),
    ],
)
def test_the_version_is_read_from_what_is_loaded(
    machine: ProcDouble, maps: str, exe: str, version: tuple[int, int] | None
) -> None:
    machine.add(7, maps=f"7f00-7f01 r-xp 0 0 0 {maps}\n", exe=exe)
    assert preflight.python_version(process_facts(7, machine.root), machine.root) == version


def test_what_is_found_out_about_a_real_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "has_torch", lambda *_: True)
    monkeypatch.setattr(preflight, "is_worker", lambda *_: False)
    with running(BUSY) as process:
        interpreter = preflight.examine(facts_of(process))
    assert interpreter.version == sys.version_info[:2]
    assert interpreter.calls.keys() == {"mmap", "Py_AddPendingCall", "PyRun_SimpleString"}
    assert interpreter.calls["Py_AddPendingCall"] in interpreter.avoid


@pytest.mark.parametrize(
    ("fault", "kind", "says"),
    [
        (elf.WrongFile("mmap in libc.so.6 is not what runs"), UnknownProgram, "replaced after the start"),
        (PermissionError(), NoRight, "may not be entered"),
        (ProcessLookupError(), NoSuchProcess, "no process"),
        (None, UnknownProgram, "does not tell where mmap is"),
    ],
)
def test_a_program_whose_functions_are_not_found_is_left_alone(
    machine: ProcDouble, monkeypatch: pytest.MonkeyPatch, fault: Exception | None, kind: type, says: str
) -> None:
    def functions(*_: object) -> dict[str, elf.Function]:
        if fault is not None:
            raise fault
        return {}

    monkeypatch.setattr(preflight, "functions", functions)
    machine.add(7)
    with pytest.raises(kind, match=says):
        preflight.examine(process_facts(7, machine.root), machine.root)
