"""The floors of the house, checked twice: by reading the imports, and by running them.

import-linter reads what is written. What is loaded in the end, by whatever detour, only a fresh
process per room can tell.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
#: Rooms that run inside training processes, in interpreters where tuimon may not be installed.
FOREIGN = {"tuimon.records", "tuimon.wire"}
VIEWER = {"tuimon.rules", "tuimon.attach", "tuimon.recording", "tuimon.session", "tuimon.tui", "tuimon.cli"}
TRAINING = {"tuimon.agent", "tuimon.demo", "tuimon.preflight", "tuimon_kernels"}

TRAINING_LIBRARIES = {"torch", "numba", "triton"}
SCREEN_LIBRARIES = {"textual", "rich", "click", "msgspec", "psutil", "platformdirs"}

# Imports every module of one package, and reports what that brought on top of what was there before.
PROBE = """
import importlib, json, pkgutil, sys, threading
room, *first = sys.argv[1:]
for name in first:
    importlib.import_module(name)
before, threads = set(sys.modules), threading.active_count()
package = importlib.import_module(room)
# `import tuimon` alone is what a training script does: its rooms are not part of it.
inside = [] if room == "tuimon" else pkgutil.walk_packages(package.__path__, room + ".")
for module in inside:
    if module.name.rpartition(".")[2] != "__main__":
        importlib.import_module(module.name)
new = sorted(set(sys.modules) - before)
print(json.dumps({"modules": new, "threads": threading.active_count() - threads}))
"""


@dataclass(frozen=True)
class Loaded:
    """What importing a room left in its process."""

    modules: frozenset[str]
    threads: int

    @property
    def libraries(self) -> set[str]:
        return {name.partition(".")[0] for name in self.modules}

    @property
    def rooms(self) -> set[str]:
        return {".".join(name.split(".")[:2]) for name in self.modules if name.startswith("tuimon.")}


def environment() -> dict[str, str]:
    """This one, with both packages in reach whether or not they are installed."""
    path = [str(REPOSITORY), str(REPOSITORY / "kernels"), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path))}


@functools.cache
def loaded(room: str, *first: str) -> Loaded:
    """A fresh process that imports every module of `room`, after the modules `first`."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE, room, *first],
        capture_output=True,
        text=True,
        env=environment(),
        cwd=REPOSITORY / "tests",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    return Loaded(frozenset(answer["modules"]), answer["threads"])


def rooms() -> list[str]:
    """Every package that stands in the repository."""
    found = [f"tuimon.{init.parent.name}" for init in REPOSITORY.glob("tuimon/*/__init__.py")]
    found += [init.parent.name for init in REPOSITORY.glob("kernels/*/__init__.py")]
    return sorted(found)


def among(kind: set[str]) -> list[str]:
    return [room for room in rooms() if room in kind]


def training_libraries() -> list[str]:
    """Those that are installed: what they bring themselves is not the room's doing."""
    pytest.importorskip("torch")
    return sorted(name for name in TRAINING_LIBRARIES if importlib.util.find_spec(name))


def test_every_room_has_its_floor() -> None:
    assert set(rooms()) <= FOREIGN | VIEWER | TRAINING


@pytest.mark.parametrize("room", ["tuimon", *among(FOREIGN)])
def test_what_travels_needs_the_standard_library_only(room: str) -> None:
    assert loaded(room).libraries - {"tuimon"} <= set(sys.stdlib_module_names)


@pytest.mark.parametrize("room", ["tuimon", *among(FOREIGN | VIEWER)])
def test_the_viewer_loads_nothing_of_the_training_side(room: str) -> None:
    assert not loaded(room).libraries & (TRAINING_LIBRARIES | {"tuimon_kernels"})
    # The command line names the demo's scenarios; that part of the demo is free of torch.
    reached = {"tuimon.demo"} if room == "tuimon.cli" else set()
    assert not loaded(room).rooms & TRAINING - reached


@pytest.mark.parametrize("room", among(TRAINING))
def test_the_training_side_loads_no_screen_and_no_judgement(room: str) -> None:
    brought = loaded(room, *training_libraries())
    assert not brought.libraries & SCREEN_LIBRARIES
    assert not brought.rooms & VIEWER


@pytest.mark.parametrize("room", ["tuimon", *among(FOREIGN | VIEWER)])
def test_importing_starts_no_thread(room: str) -> None:
    assert loaded(room).threads == 0


@pytest.mark.parametrize("room", among(TRAINING))
def test_importing_the_training_side_starts_no_thread(room: str) -> None:
    assert loaded(room, *training_libraries()).threads == 0


def test_the_cellar_knows_nothing_of_the_house() -> None:
    assert "tuimon" not in loaded("tuimon_kernels", *training_libraries()).libraries


def test_the_imports_as_written_keep_the_floors() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"],
        capture_output=True,
        text=True,
        env=environment(),
        cwd=REPOSITORY,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
