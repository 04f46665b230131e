"""A process looked at from outside: what speaks for attaching to it, what against, and where it is."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from agent_double import GREETING, frames, sample, saying, serving
from proc_double import ProcDouble, proc_double

from tuimon.attach.errors import NoSuchProcess
from tuimon.attach.injection import preflight
from tuimon.attach.inspection.examination import Examination, examination
from tuimon.attach.inspection.findings import Finding
from tuimon.wire.paths import process_start_ticks, socket_path
from tuimon.wire.unix import bind_unix

#: A Python that has mapped something by the name of PyTorch's library, and waits.
TRAINING = (
    "import mmap, sys; file = open(sys.argv[1], 'r+b'); "
    "mapped = mmap.mmap(file.fileno(), 0); print(flush=True); input()"
)


@contextmanager
def training(folder: Path) -> Iterator[int]:
    """A process that looks like a training, in an environment with numba and without triton."""
    library = folder / "site-packages" / "torch" / "lib" / "libtorch_double.so"
    library.parent.mkdir(parents=True)
    library.write_bytes(bytes(4096))
    (folder / "site-packages" / "torch" / "version.py").write_text("__version__ = '2.99.0'\n")
    (folder / "site-packages" / "numba").mkdir()
    pipe = subprocess.PIPE
    command = [sys.executable, "-S", "-c", TRAINING, str(library)]
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(folder)}
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, env=environment) as running:
        assert running.stdout is not None
        running.stdout.readline()
        try:
            yield running.pid
        finally:
            running.kill()


def named(examined: Examination, name: str) -> Finding:
    return next(finding for finding in examined.findings if finding.name == name)


@pytest.fixture(autouse=True)
def gdb(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is a gdb, wherever the tests run."""
    monkeypatch.setattr(preflight, "debugger", lambda: "/usr/bin/gdb")


def test_a_training_that_can_be_entered(tmp_path: Path) -> None:
    with training(tmp_path) as pid:
        examined = examination(pid, watch_s=0.0)
    assert examined.attachable, examined
    assert not examined.inside
    assert {name for name, _ in preflight.CHECKS} <= {f.name for f in examined.findings if f.verdict == "ok"}
    assert f"CPython {sys.version_info[0]}.{sys.version_info[1]}" in named(examined, "python").what
    assert named(examined, "torch").what == f"PyTorch 2.99.0 in {tmp_path / 'site-packages'}"
    assert named(examined, "numba").what.startswith("there")
    assert named(examined, "triton").what.startswith("not in its environment")
    assert examined.whereabouts is not None
    assert examined.whereabouts.state in ("waiting", "running")


def test_a_main_thread_that_does_not_run_is_told_from_one_that_does(tmp_path: Path) -> None:
    with training(tmp_path / "waits") as pid:
        while (still := examination(pid, watch_s=0.1).whereabouts) is not None and still.still_s is None:
            pass  # it has just begun to wait
        assert still is not None and still.state == "waiting"
    busy = [sys.executable, "-S", "-c", "print(flush=True)\nwhile True: pass"]
    with subprocess.Popen(busy, stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        running.stdout.readline()
        moving = examination(running.pid, watch_s=0.1).whereabouts
        running.kill()
    assert moving is not None and moving.still_s is None


def test_it_is_looked_at_only(tmp_path: Path) -> None:
    with training(tmp_path) as pid:
        before = sorted(path.name for path in tmp_path.iterdir())
        examination(pid, watch_s=0.0)
        status = Path(f"/proc/{pid}/status").read_text()
        assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert "TracerPid:\t0" in status
    assert "State:\tT" not in status


def test_an_agent_that_answers_is_all_that_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "debugger", lambda: None)
    (tmp_path / "tuimon").mkdir(mode=0o700)
    with training(tmp_path) as pid:
        path = socket_path(pid, process_start_ticks(pid), tmp_path / "tuimon")
        with serving(path, saying(GREETING + frames(sample(41)))):
            examined = examination(pid, watch_s=0.0)
    assert examined.attachable and examined.inside
    assert named(examined, "tuimon").what == "inside (train), step 41"
    if sys.version_info < preflight.REMOTE:
        assert named(examined, "debugger").verdict == "no"


def test_an_agent_that_is_gone(tmp_path: Path) -> None:
    (tmp_path / "tuimon").mkdir(mode=0o700)
    with training(tmp_path) as pid:
        bind_unix(socket_path(pid, process_start_ticks(pid), tmp_path / "tuimon")).close()
        examined = examination(pid, watch_s=0.0)
    assert not examined.attachable
    assert "stopped listening" in named(examined, "tuimon").what


def test_no_process() -> None:
    with pytest.raises(NoSuchProcess):
        examination(2**22 + 1)


@pytest.fixture
def proc(tmp_path: Path) -> ProcDouble:
    return proc_double(tmp_path)


def test_a_launcher_stands_for_its_first_rank(proc: ProcDouble) -> None:
    proc.add(5, command=("python", "/venv/bin/torchrun", "train.py"))
    for rank, pid in enumerate((7, 8)):
        environ = {"RANK": str(rank), "WORLD_SIZE": "2"}
        proc.add(pid, parent=5, environ=environ, command=("python", "train.py"))
    examined = examination(5, proc.root, 0.0)
    assert examined.pid == 7
    assert named(examined, "launcher").what == "process 5 started it; the others: 8"


@pytest.mark.parametrize(
    ("settings", "name", "remedy"),
    [
        ({"state": "T (stopped)"}, "held", "kill -CONT 7"),
        ({"tracer": 9}, "held", "end that first"),
        ({"comm": "pt_data_worker"}, "worker", "attach to 1"),
        ({"maps": ""}, "torch", "imports torch"),
        ({"uid": os.geteuid() + 1}, "user", "run tuimon as"),
        ({"command": ("sh",), "exe": "/bin/sh", "maps": "x"}, "python", "tuimon list"),
    ],
)
def test_what_speaks_against_it_comes_with_its_remedy(
    proc: ProcDouble,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, object],
    name: str,
    remedy: str,
) -> None:
    if name == "user":
        somebody = os.geteuid() + 7
        monkeypatch.setattr(os, "geteuid", lambda: somebody)
    proc.add(1, command=("sh",), exe="/bin/sh", maps="")
    proc.add(7, **settings)  # type: ignore[arg-type]
    examined = examination(7, proc.root, 0.0)
    assert not examined.attachable
    (against,) = [finding for finding in examined.findings if finding.verdict == "no"]
    assert against.name == name
    assert against.remedy is not None and remedy in against.remedy
