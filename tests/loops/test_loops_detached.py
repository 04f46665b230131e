"""Entered from outside, left again, twice: the process is what it would be without."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest
from looping import PATIENCE_S, Bare, Loop, can_enter, environment


def detach(loop: Loop) -> str:
    command = [sys.executable, "-m", "tuimon", "detach", str(loop.process.pid)]
    ran = subprocess.run(
        command, env=environment(loop.runtime), capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    return ran.stdout


@pytest.mark.skipif(not can_enter(), reason="no process may be entered from outside here, or gdb is missing")
def test_entered_and_left_twice(begin: Callable[..., Loop], bare: Bare) -> None:
    program = "inspecting.py"
    loop = begin(program)
    for after in (10, 40):
        loop.until_step(after)
        samples = loop.record(steps=10).samples
        assert [sample["loss"] for sample in samples if sample["loss"] is not None]
        told = detach(loop)
        assert told.startswith(f"tuimon has left process {loop.process.pid} ({program}) at step ")
        assert told.endswith("the training goes on\n")
        assert not list((loop.runtime / "tuimon").iterdir())
        assert not any("tuimon" in name for name in os.listdir(f"/proc/{loop.process.pid}/fd"))
        loop.until_step(loop.said[-1]["step"] + 10)
    loop.stop()
    steps = max(line.get("step", 0) for line in loop.said)
    (twin,) = bare.run(program, steps)
    assert loop.said[-2] == {"changed": [], "held": [], "threads": 1}
    assert loop.said == twin
