"""Trainings in processes of their own, for what shows only there."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from tuimon_kernels import backend

torch.set_num_threads(1)

HERE = Path(__file__).parent


# Once in this process, so that none of the children finds them uncompiled.
@pytest.fixture(scope="session", autouse=True)
def _compiled() -> None:
    kernels = backend("cpu")
    assert kernels is not None
    kernels.warm()


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory that holds this test's sockets, also those of its children."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path / "tuimon"


@pytest.fixture
def start(runtime: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts one of this folder's scripts; what still runs in the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def start(script: str, *arguments: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-W", "error", str(HERE / script), *map(str, arguments)]
        pipe = subprocess.PIPE
        started.append(
            subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env={**os.environ})
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()
