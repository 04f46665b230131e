"""A training on another machine that has never heard of tuimon: entered there, followed here, through ssh."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from ssh_box import Box, ssh_box
from starting import PATIENCE_S, Start

PLAIN = Path(__file__).with_name("programs") / "plain.py"


@pytest.fixture
def box(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Box]:
    """A host that `ssh` finds, for processes that are started from now on."""
    with ssh_box(tmp_path_factory.mktemp("box")) as made:
        monkeypatch.setenv("PATH", made.path)
        yield made


@pytest.mark.skipif(shutil.which("gdb") is None, reason="gdb is not installed")
def test_it_is_entered_there_and_nothing_is_lost_when_the_connection_dies(
    box: Box, start: Start, tmp_path: Path
) -> None:
    training = start(PLAIN)
    assert training.stdout is not None and training.stdout.readline() == "training\n"
    there = shlex.join(["env", f"XDG_RUNTIME_DIR={tmp_path}", sys.executable, "-m", "tuimon"])
    options = ("--json", "--every", 1, "--steps", 200, "--remote-command", there)
    viewer = start("-m", "tuimon", "record", f"box:{training.pid}", *options)
    assert viewer.stdout is not None
    lines: list[dict[str, Any]] = []
    while sum(line["event"] == "sample" for line in lines) < 3:
        lines.append(json.loads(viewer.stdout.readline()))
    (ssh,) = [child for child in psutil.Process(viewer.pid).children() if "ssh" in child.name()]
    ssh.kill()
    out, err = viewer.communicate(timeout=PATIENCE_S)
    assert viewer.returncode == 0
    assert err.splitlines()[-1].startswith(f"entering process {training.pid}: it pauses")
    lines += [json.loads(line) for line in out.splitlines()]
    introduced = [line for line in lines if line["event"] == "hello"][-1]
    assert introduced["pid"] == training.pid
    assert [layer for layer in introduced["layers"] if layer] == ["0", "1", "2"]
    steps = [line["step"] for line in lines if line["event"] == "sample"]
    assert steps == list(range(steps[0], steps[0] + 200))
    training.communicate("\n", timeout=PATIENCE_S)
    assert training.returncode == 0
