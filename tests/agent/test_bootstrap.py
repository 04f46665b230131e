"""tuimon loaded by path into processes that have never heard of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

import tuimon
import tuimon_kernels
from tuimon.agent import bootstrap

#: torch and what it needs; what pip wrote there to make tuimon importable counts only with `site`.
LIBRARIES = Path(torch.__file__).parent.parent
BOOTSTRAP = Path(bootstrap.__file__)
#: In place of the real one: says with what it was called.
ENTER = "import json\ndef enter(options):\n    print(json.dumps(dict(options)), flush=True)\n"
PRELUDE = f"""
import sys
sys.path.append({str(LIBRARIES)!r})
scope = {{"__name__": "bootstrap"}}
exec({BOOTSTRAP.read_text()!r}, scope)
load, begin, inject = scope["load"], scope["begin"], scope["inject"]
"""


def run(code: str, *arguments: object, check: bool = True) -> subprocess.CompletedProcess[str]:
    """A process in which tuimon cannot be imported, and that warns of nothing."""
    command = [sys.executable, "-I", "-S", "-W", "error", "-c", PRELUDE + code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not check or (done.returncode == 0 and done.stderr == ""), done.stderr
    return done


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Both packages, with a stand-in for what enters."""
    for package in (tuimon, tuimon_kernels):
        folder = Path(package.__path__[0])
        shutil.copytree(folder, tmp_path / "source" / folder.name, ignore=shutil.ignore_patterns("*.pyc"))
    (tmp_path / "source" / "tuimon" / "agent" / "enter.py").write_text(ENTER)
    return tmp_path / "source"


@pytest.fixture
def archive(directory: Path, tmp_path: Path) -> Path:
    """The same as one file; the directory is gone."""
    path = tmp_path / "folder" / bootstrap.ARCHIVE
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as file:
        for source in directory.rglob("*.py"):
            file.write(source, source.relative_to(directory))
    shutil.rmtree(directory)
    return path


def test_nothing_is_importable_without_it() -> None:
    assert "ModuleNotFoundError" in run("import tuimon", check=False).stderr


@pytest.mark.parametrize("kind", ["directory", "archive"])
def test_it_leaves_the_import_system_and_main_alone(kind: str, request: pytest.FixtureRequest) -> None:
    source = request.getfixturevalue(kind)
    code = """
import torch
before = list(sys.path), list(sys.meta_path), list(sys.path_hooks), sys.getswitchinterval()
names = None
names = list(globals())
load(sys.argv[1])
assert before == (sys.path, sys.meta_path, sys.path_hooks, sys.getswitchinterval())
assert names == list(globals())
import tuimon, tuimon_kernels
assert tuimon.__path__ == [sys.argv[1] + "/tuimon"]
assert tuimon_kernels.__path__ == [sys.argv[1] + "/tuimon_kernels"]
"""
    run(code, source)


def test_of_its_neighbours_nothing_leaks_in(directory: Path) -> None:
    (directory / "neighbour.py").write_text("")
    done = run("load(sys.argv[1]); import tuimon; import neighbour", directory, check=False)
    assert "No module named 'neighbour'" in done.stderr


def test_a_checkout_is_a_source(directory: Path, tmp_path: Path) -> None:
    (directory / "kernels").mkdir()
    (directory / "tuimon_kernels").rename(directory / "kernels" / "tuimon_kernels")
    run("load(sys.argv[1]); import tuimon_kernels.spec", directory)


def test_all_that_a_training_needs_outlives_the_archive(archive: Path) -> None:
    code = """
import os, importlib
load(sys.argv[1])
os.unlink(sys.argv[1])
assert not [path for path in sys.path_importer_cache if sys.argv[1] in path]
import zipimport
assert sys.argv[1] not in zipimport._zip_directory_cache
for name in sys.argv[2:]:
    importlib.import_module(name)
import tuimon
assert callable(tuimon.watch) and callable(tuimon.log)
# Someone who adds tuimon.watch to a script gets the kernels that are left.
import tuimon_kernels
assert tuimon_kernels.backend("cpu").name == "torch"
"""
    with zipfile.ZipFile(archive) as file:
        names = [name.removesuffix(".py").replace("/", ".") for name in file.namelist()]
    own = [name for name in names if name.rpartition(".")[0] in bootstrap.ROOMS]
    inside = [name for name in own if not name.endswith("__init__")]
    assert len(inside) > 30
    run(code, archive, *inside)


def test_the_agent_imports_nothing_of_ours_late() -> None:
    """What a function imports when it is called would not be found once the archive is gone."""
    for room in bootstrap.ROOMS:
        for path in Path(tuimon.__path__[0], room.partition(".")[2]).glob("*.py"):
            for line in path.read_text().splitlines():
                late = line.startswith("        ") and line.split()[:1] in (["from"], ["import"])
                assert not (late and "tuimon" in line), f"{path}: {line}"


def test_kernels_may_stand_elsewhere(archive: Path, tmp_path: Path) -> None:
    kernels = tmp_path / "cache" / "tuimon_kernels"
    shutil.copytree(Path(tuimon_kernels.__path__[0]), kernels, ignore=shutil.ignore_patterns("*.pyc"))
    code = (
        "load(sys.argv[1], sys.argv[2]); import tuimon_kernels; "
        "assert tuimon_kernels.__path__ == [sys.argv[2] + '/tuimon_kernels']"
    )
    run(code, archive, kernels.parent)


def test_begin_hands_the_options_over(directory: Path) -> None:
    done = run("begin(sys.argv[1], {'how': 'run', 'every': 2})", directory)
    assert json.loads(done.stdout) == {"how": "run", "every": 2}


def test_a_source_without_tuimon_leaves_nothing(tmp_path: Path) -> None:
    code = """
try:
    load(sys.argv[1])
except (ImportError, OSError) as error:
    print(error)
assert not [name for name in sys.modules if name.startswith("tuimon")]
"""
    assert "there is no tuimon in" in run(code, tmp_path).stdout


def test_a_failure_half_way_leaves_nothing(archive: Path) -> None:
    broken = archive.with_name("broken.zip")
    with zipfile.ZipFile(archive) as whole, zipfile.ZipFile(broken, "w") as file:
        for name in whole.namelist():
            text = b"raise OSError('no such thing')" if name.endswith("publisher.py") else whole.read(name)
            file.writestr(name, text)
    code = """
try:
    load(sys.argv[1])
except (ImportError, OSError) as error:
    print(error)
assert not [name for name in sys.modules if name.startswith("tuimon")]
"""
    assert "no such thing" in run(code, broken).stdout


def test_a_tuimon_that_was_imported_already_is_used(directory: Path, archive_of_other: Path) -> None:
    code = """
sys.path.append(sys.argv[1])
import tuimon
load(sys.argv[2], protocol=1)
assert tuimon.__path__ == [sys.argv[1] + "/tuimon"]
"""
    run(code, directory, archive_of_other)


@pytest.fixture
def archive_of_other(tmp_path: Path) -> Path:
    path = tmp_path / "other.zip"
    zipfile.ZipFile(path, "w").close()
    return path


OLD = """
sys.path.append(sys.argv[1])
import tuimon
try:
    load(sys.argv[2], protocol=int(sys.argv[3]))
except RuntimeError as error:
    print(type(error).__name__, error)
"""


def test_one_of_another_protocol_cannot_serve(directory: Path, archive_of_other: Path) -> None:
    told = run(OLD, directory, archive_of_other, 99).stdout
    assert "CannotServe" in told
    assert "speaks protocol 1, not 99" in told


def test_one_that_is_too_old_cannot_serve(directory: Path, archive_of_other: Path) -> None:
    (directory / "tuimon" / "agent" / "enter.py").unlink()
    told = run(OLD, directory, archive_of_other, 1).stdout
    assert f"its own tuimon, {tuimon.__version__}, cannot be entered from outside" in told


INJECTED = """
import os, threading
report = os.open(sys.argv[1] + "/report", os.O_RDONLY)
inject(sys.argv[1])
for thread in threading.enumerate():
    if thread.name == "tuimon-entering":
        assert thread.daemon
        thread.join()
print(os.pread(report, 4096, 0).decode().strip(), os.path.exists(sys.argv[1]))
"""


def prepare(folder: Path, **options: Any) -> None:
    (folder / bootstrap.OPTIONS).write_text(json.dumps(options))
    (folder / bootstrap.REPORT).write_bytes(bytes(bootstrap.REPORT_BYTES))


def test_an_injection_enters_and_takes_its_folder_away(archive: Path) -> None:
    prepare(archive.parent, how="injected", protocol=1)
    options, report = run(INJECTED, archive.parent).stdout.splitlines()
    assert json.loads(options) == {"how": "injected", "protocol": 1}
    assert report == '{"state": "entered"} False'


def test_a_second_injection_leaves_nothing_in_the_process(archive: Path) -> None:
    prepare(archive.parent)
    code = """
import zipimport
load(sys.argv[1] + "/tuimon.zip")
zipimport.zipimporter(sys.argv[1] + "/tuimon.zip")  # as the injected line does
""" + INJECTED + """
assert not [path for path in zipimport._zip_directory_cache if sys.argv[1] in path]
assert not scope["_forks"]._known
"""
    assert run(code, archive.parent).stdout.splitlines()[-1] == '{"state": "entered"} False'


def test_an_injection_that_fails_reports_it_and_takes_its_folder_away(archive: Path) -> None:
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr("tuimon/agent/zz_broken.py", f"raise OSError('x' * {2 * bootstrap.REPORT_BYTES})")
    prepare(archive.parent)
    report, _, left = run(INJECTED, archive.parent).stdout.strip().rpartition(" ")
    told = json.loads(report)
    assert told["state"] == "failed"
    assert told["error"].startswith("OSError: xxx")
    assert left == "False"


def test_an_injection_that_was_given_up_does_nothing(tmp_path: Path) -> None:
    code = "import threading; inject(sys.argv[1]); [t.join() for t in threading.enumerate()[1:]]"
    assert run(code, tmp_path / "gone").stdout == ""


def test_others_get_the_interpreter_between_the_imports(archive: Path) -> None:
    code = """
import torch
import gc
rests, before = [], gc.get_threshold()
scope["time"].sleep = rests.append
gently = scope["gently"]()
with gently:
    assert sys.getswitchinterval() < 0.001
    assert gc.get_threshold()[2] > 100_000
    load(sys.argv[1])
assert len(rests) > 30 and sum(rests) > 0
assert sys.getswitchinterval() > 0.004
assert gc.get_threshold() == before
"""
    run(code, archive)


FORKING = """
import os, threading
forks = scope["_forks"]
inside, leave = threading.Event(), threading.Event()
def importing():
    with scope["gently"]():
        inside.set()
        leave.wait()
thread = threading.Thread(target=importing)
thread.start()
inside.wait()
"""


def test_a_fork_waits_until_nothing_is_half_imported() -> None:
    code = """
forked = threading.Event()
def fork():
    pid = os.fork()
    if pid == 0:
        # The child has the lock for itself again.
        os._exit(0 if forks.importing.acquire(timeout=60) and not thread.is_alive() else 1)
    forked.set()
    assert os.waitpid(pid, 0)[1] == 0
waiting = threading.Event()
acquire = forks.importing.acquire
class Told:
    def __getattr__(self, name): return getattr(lock, name)
    def acquire(self, **how):
        waiting.set()
        return lock.acquire(**how)
lock, forks.importing = forks.importing, Told()
forker = threading.Thread(target=fork)
forker.start()
waiting.wait()
assert not forked.is_set()
leave.set()
thread.join()
forker.join()
assert forked.is_set()
"""
    run(FORKING + code)


def test_a_fork_does_not_wait_for_ever() -> None:
    code = """
scope["_LONGEST_IMPORT_S"] = 0.01
pid = os.fork()
if pid == 0:
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
leave.set()
thread.join()
assert forks.importing.acquire(timeout=60)
"""
    run(FORKING + code)


def test_options_of_an_environment_are_not_needed() -> None:
    """It runs by itself: nothing of ours is imported by it."""
    assert "import tuimon" not in BOOTSTRAP.read_text()
    assert "from tuimon" not in BOOTSTRAP.read_text()
    assert os.path.isfile(BOOTSTRAP)
