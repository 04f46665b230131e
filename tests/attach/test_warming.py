"""Kernels compiled for a training, in a process of its own Python: when, where, and when not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
from proc_double import ProcDouble, proc_double

from tuimon.agent import warm
from tuimon.attach.injection import warming
from tuimon.attach.injection.bundle import kernels_archive
from tuimon.attach.injection.warming import COMPILING, warm_kernels
from tuimon.attach.process import process_facts

#: In place of the program that compiles: does what `act` does, with the same arguments.
PROGRAM = """
import json, os, sys
directory, mark, libraries = sys.argv[1:]
with open(os.environ["TOLD"], "a") as file:
    print(json.dumps([directory, mark, libraries, sys.stdin.buffer.read(2) == b"PK", os.getcwd()]), file=file)
{act}
"""
MARK = """
os.makedirs(directory, exist_ok=True)
found = os.stat(json.__file__)
import socket
with open(os.path.join(directory, mark), "w") as file:
    json.dump({"numba": json.__file__, "stamp": [found.st_mtime_ns, found.st_size],
               "host": socket.gethostname()}, file)
"""


@pytest.fixture
def machine(tmp_path: Path) -> ProcDouble:
    machine = proc_double(tmp_path / "proc")
    machine.add(
        7,
        command=(sys.executable, "train.py"),
        exe=os.path.realpath(sys.executable),
        environ={"HOME": str(tmp_path / "home"), "TOLD": str(tmp_path / "told")},
    )
    return machine


@pytest.fixture
def compiling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    def act(code: str) -> None:
        program = tmp_path / "program.py"
        program.write_text(PROGRAM.format(act=code))
        monkeypatch.setattr(warming, "_PROGRAM", program)

    return act


def warmed(machine: ProcDouble, stopped: bool = False) -> tuple[str | None, list[str]]:
    told: list[str] = []
    facts = process_facts(7, machine.root)
    return warm_kernels(facts, told.append, lambda: stopped, machine.root), told


def runs(tmp_path: Path) -> list[list[object]]:
    path = tmp_path / "told"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_they_are_compiled_once_into_the_users_cache(
    machine: ProcDouble, tmp_path: Path, compiling: Callable[[str], None]
) -> None:
    compiling(MARK)
    directory, told = warmed(machine)
    assert directory is not None
    assert Path(directory).parent == tmp_path / "home" / ".cache" / "tuimon"
    assert warmed(machine) == (directory, [])
    ((first, _, libraries, zipped, cwd),) = runs(tmp_path)
    assert (first, libraries, zipped, cwd) == (directory, "/venv/lib/python3.11/site-packages", True, "/")
    assert told == []


def test_another_numba_has_them_compiled_again(
    machine: ProcDouble, tmp_path: Path, compiling: Callable[[str], None]
) -> None:
    compiling(MARK)
    directory, _ = warmed(machine)
    assert directory is not None
    (marker,) = Path(directory).glob("warm-*.json")
    marker.write_text(json.dumps({**json.loads(marker.read_text()), "stamp": [1, 2]}))
    warmed(machine)
    assert len(runs(tmp_path)) == 2


def test_without_numba_there_are_none(machine: ProcDouble, compiling: Callable[[str], None]) -> None:
    compiling("raise ImportError('No module named numba')")
    assert warmed(machine) == (None, [])


def test_without_a_home_there_are_none(machine: ProcDouble, compiling: Callable[[str], None]) -> None:
    compiling(MARK)
    (machine.root / "7" / "environ").write_bytes(b"HOME=relative\0")
    assert warmed(machine) == (None, [])


def test_a_container_goes_without(machine: ProcDouble, compiling: Callable[[str], None]) -> None:
    compiling(MARK)
    (machine.root / "7" / "ns" / "mnt").unlink()
    (machine.root / "7" / "ns" / "mnt").symlink_to("mnt:[2]")
    assert warmed(machine) == (None, [])


def test_whoever_waits_is_told_and_may_leave(
    machine: ProcDouble, tmp_path: Path, compiling: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warming, "_TELL_S", 0.0)
    compiling("import time; time.sleep(600)")
    facts, told = process_facts(7, machine.root), []
    assert warm_kernels(facts, told.append, lambda: bool(told), machine.root) is None
    assert told == [COMPILING]


def test_what_takes_for_ever_is_ended(
    machine: ProcDouble, compiling: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warming, "PATIENCE_S", 0.1)
    compiling("import time; time.sleep(600)")
    assert warmed(machine) == (None, [])


def test_the_interpreter_is_the_one_of_the_virtual_environment(machine: ProcDouble, tmp_path: Path) -> None:
    """By its command, not by the program that runs in the end: a venv's python is a link."""
    venv = tmp_path / "venv" / "bin"
    venv.mkdir(parents=True)
    (venv / "python").symlink_to(os.path.realpath(sys.executable))
    facts = process_facts(7, machine.root)
    (machine.root / "7" / "cwd").symlink_to(tmp_path)

    def python(command: str, path: str = "/nowhere") -> str | None:
        return warming._python(replace(facts, command=(command,)), {"PATH": path}, machine.root)

    assert python("venv/bin/python") == str(venv / "python")
    assert python("python", str(venv)) == str(venv / "python")
    assert python(str(venv / "python")) == str(venv / "python")
    # A name that a script has given itself, or a program of that name that is another one.
    assert python("my training") == os.path.realpath(sys.executable)
    assert python("/bin/sh") == os.path.realpath(sys.executable)


def test_the_program_puts_the_kernels_there_and_leaves_a_marker(tmp_path: Path) -> None:
    """As it runs beside a training: in a fresh process, in which tuimon cannot be imported."""
    numba = tmp_path / "libraries" / "numba"
    numba.mkdir(parents=True)
    (numba / "__init__.py").write_text("")
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("tuimon_kernels/__init__.py", "")
        file.writestr("tuimon_kernels/cpu.py", "class BACKEND:\n    warm = lambda: print('warmed')\n")
    directory = tmp_path / "cache" / "tuimon" / "kernels-1"
    arguments = [str(directory), "warm-x.json", str(numba.parent)]
    command = [sys.executable, "-S", "-c", Path(warm.__file__).read_text(), *arguments]
    for _ in range(2):
        done = subprocess.run(command, input=buffer.getvalue(), capture_output=True, check=True)
        assert done.stdout == b"warmed\n"
    assert json.loads((directory / "warm-x.json").read_text()) == warm.marker(str(numba / "__init__.py"))
    assert [path.name for path in directory.parent.iterdir()] == ["kernels-1"]
    assert (directory.parent.stat().st_mode & 0o777) == 0o700
    assert warming._is_warm(process_facts(os.getpid()), directory / "warm-x.json")


def test_what_is_sent_are_the_kernels() -> None:
    with zipfile.ZipFile(BytesIO(kernels_archive())) as file:
        assert {"tuimon_kernels/cpu.py", "tuimon_kernels/reference.py"} <= set(file.namelist())
