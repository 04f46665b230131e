"""What is written where the process can read it: closed to others, complete, and gone again."""

from __future__ import annotations

import io
import json
import os
import stat
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pytest
from proc_double import ProcDouble, proc_double

from tuimon.agent import bootstrap
from tuimon.attach.injection import bundle
from tuimon.attach.injection.acting import acting_as
from tuimon.attach.injection.bundle import archive, kernels_archive, place
from tuimon.attach.injection.entry_errors import NoRoom
from tuimon.attach.process import process_facts
from tuimon.version import __version__
from tuimon.wire.envelope import WIRE_VERSION


@pytest.fixture
def machine(tmp_path: Path) -> ProcDouble:
    (tmp_path / "tmp").mkdir()
    machine = proc_double(tmp_path / "proc")
    machine.add(7, environ={"TMPDIR": str(tmp_path / "tmp")}, inner_pid=70)
    return machine


def placed(machine: ProcDouble, **options: object) -> bundle.Bundle:
    return place(process_facts(7, machine.root), options, sys.version_info[:2], machine.root)


def test_it_is_the_processes_own_and_closed_to_others(machine: ProcDouble, tmp_path: Path) -> None:
    made = placed(machine, every=2)
    assert made.folder.parent == tmp_path / "tmp"
    assert made.inner == str(made.folder)
    assert stat.S_IMODE(made.folder.stat().st_mode) == 0o700
    names = {path.name for path in made.folder.iterdir()}
    assert names == {bundle.ARCHIVE, bundle.OPTIONS, bundle.REPORT, bundle.SCRIPT}
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in made.folder.iterdir())
    assert json.loads((made.folder / bundle.OPTIONS).read_text()) == {"protocol": WIRE_VERSION, "every": 2}
    assert (made.folder / bundle.SCRIPT).read_text() == made.line
    made.remove()
    assert list((tmp_path / "tmp").iterdir()) == []


def test_both_sides_agree_on_the_names() -> None:
    names = (bootstrap.ARCHIVE, bootstrap.OPTIONS, bootstrap.REPORT, bootstrap.SCRIPT, bootstrap.REPORT_BYTES)
    assert names == (bundle.ARCHIVE, bundle.OPTIONS, bundle.REPORT, bundle.SCRIPT, bundle.REPORT_BYTES)


def test_the_report_is_read_even_when_its_name_is_gone(machine: ProcDouble) -> None:
    made = placed(machine)
    assert made.report() == {}
    with (made.folder / bundle.REPORT).open("r+b") as file:
        file.write(b'{"state": "entered"}   ')
    bootstrap._remove(str(made.folder))
    assert made.report() == {"state": "entered"}
    made.remove()


@pytest.mark.parametrize("text", [b"{", b"[1]", b"\xff\xfe", b'"a"'])
def test_a_report_that_is_none_says_nothing(machine: ProcDouble, text: bytes) -> None:
    made = placed(machine)
    (made.folder / bundle.REPORT).write_bytes(text)
    assert made.report() == {}
    made.remove()


def test_a_full_tmp_is_passed_by_and_nothing_is_left_in_it(
    machine: ProcDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other").mkdir()
    both = [str(tmp_path / "tmp"), str(tmp_path / "other")]
    monkeypatch.setattr(bundle, "temporary_directories", lambda *_: both)
    write = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        if path.name == bundle.ARCHIVE and path.is_relative_to(tmp_path / "tmp"):
            write(path, data[:100])
            raise OSError(28, "No space left on device")
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    made = placed(machine)
    assert made.folder.parent == tmp_path / "other"
    assert list((tmp_path / "tmp").iterdir()) == []
    made.remove()


def test_no_room_anywhere_is_said_with_the_places(
    machine: ProcDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_path: Path, _data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(NoRoom, match=r"No space left on device.*make room there") as told:
        placed(machine)
    assert str(tmp_path / "tmp") in str(told.value)
    assert list((tmp_path / "tmp").iterdir()) == []


def test_in_another_root_a_link_is_not_followed(machine: ProcDouble, tmp_path: Path) -> None:
    machine.add(8, mount_namespace=2)
    root = machine.root / "8" / "root"
    root.mkdir()
    (root / "tmp").symlink_to(tmp_path / "tmp")
    (root / "var").mkdir()
    (root / "var" / "tmp").mkdir()
    made = place(process_facts(8, machine.root), {}, None, machine.root)
    assert made.folder.parent == root / "var" / "tmp"
    assert made.inner.startswith("/var/tmp/tuimon-8-")
    made.remove()


AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act for others")


@AS_ROOT
def test_what_root_writes_belongs_to_the_processes_user(machine: ProcDouble) -> None:
    # pytest's own temporary directory is closed to others.
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        os.chmod(name, 0o777)
        machine.add(8, uid=65534, environ={"TMPDIR": name})
        made = place(process_facts(8, machine.root), {}, None, machine.root)
        assert {path.stat().st_uid for path in (made.folder, *made.folder.iterdir())} == {65534}
        made.remove()
        assert os.listdir(name) == []


@AS_ROOT
def test_root_is_not_led_astray(machine: ProcDouble) -> None:
    """A user who replaces the folder in mid-work gains nothing: root acts with that user's rights."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        kept = Path(name, "roots")
        kept.mkdir(mode=0o700)
        (kept / bundle.REPORT).write_text("precious")
        (Path(name) / "theirs").mkdir()
        report = os.open("/dev/null", os.O_RDONLY)
        made = bundle.Bundle(Path(name, "theirs", "link"), "/x", report, (65534, 65534))
        made.folder.symlink_to(kept)
        made.remove()
        assert (kept / bundle.REPORT).read_text() == "precious"
        with acting_as(65534, 65534), pytest.raises(PermissionError):
            (kept / bundle.OPTIONS).write_text("")
        (kept / bundle.OPTIONS).write_text("")  # and afterwards it is root again


def test_to_act_for_another_takes_a_right(monkeypatch: pytest.MonkeyPatch) -> None:
    with acting_as(os.geteuid(), os.getegid()):
        pass
    if os.geteuid() != 0:
        with pytest.raises(PermissionError), acting_as(os.geteuid() + 1, os.getegid()):
            pass


def test_what_travels() -> None:
    with zipfile.ZipFile(io.BytesIO(archive(False))) as file:
        names = file.namelist()
    rooms = {name.split("/")[1] for name in names if name.startswith("tuimon/") and name.count("/") > 1}
    assert rooms == {"records", "wire", "agent"}
    assert {"tuimon/__init__.py", "tuimon/agent/bootstrap.py", "tuimon_kernels/reference.py"} <= set(names)
    assert not [name for name in names if not name.endswith(".py")]


def test_compiled_code_is_loaded_instead_of_the_source(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    path.write_bytes(archive(True))
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); import tuimon.version as v; "
        "print(v.__file__.endswith('version.pyc'), v.__version__)"
    )
    command = [sys.executable, "-S", "-c", program, path]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"True {__version__}\n"


def test_the_same_kernels_are_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    first = kernels_archive()
    kernels_archive.cache_clear()
    assert kernels_archive() == first
