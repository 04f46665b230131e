"""The demo trains for real, shows each alert, and ends with its viewer."""

from __future__ import annotations

import os
import select
import signal
from pathlib import Path

import pytest
from starting import PATIENCE_S, Start
from terminal import terminal

from tuimon.demo.scenario import HEALTHY, SCENARIOS, Scenario

SICK = [scenario for scenario in SCENARIOS.values() if scenario is not HEALTHY]


def demo(start: Start, *arguments: object) -> list[str]:
    process = start("-m", "tuimon", "demo", *arguments)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, err) == (0, "")
    return out.splitlines()


def test_a_healthy_demo_fires_no_alert(start: Start) -> None:
    shown = demo(start, "--steps", 60)
    assert shown[0].startswith("demo (healthy)  pid")
    assert shown[1].startswith("step 1  loss 5.")
    assert any("val_loss" in line for line in shown)
    assert shown[-1].startswith("demo (healthy): 60 steps, loss 5.")
    assert shown[-1].endswith("alerts: none, as it should be")


def test_a_demo_of_one_step_is_seen(start: Start) -> None:
    shown = demo(start, "--steps", 1)
    assert shown[1].startswith("step 1  loss 5.")
    assert shown[-1].startswith("demo (healthy): 1 step, loss 5.")


@pytest.mark.parametrize("scenario", SICK, ids=lambda scenario: scenario.name)
def test_a_sick_demo_shows_its_alert(start: Start, scenario: Scenario) -> None:
    shown = demo(start, "--scenario", scenario.name, "--steps", 60)
    fired = [line.split()[1] for line in shown if line.startswith(("INFO ", "WARNING ", "CRITICAL "))]
    assert fired[0] == scenario.rule
    assert f"{scenario.rule} was shown since step" in shown[-1]


def test_on_a_terminal_it_opens_the_screen_and_ends_with_it(tmp_path: Path) -> None:
    with terminal(120, 40, tmp_path, "demo") as shown:
        shown.until("blocks.0")
        shown.press("q")
        assert shown.to_the_end() == 0
    assert "its training ends with it" in shown.shown
    assert "Traceback" not in shown.shown


def test_the_training_ends_with_its_viewer_however_that_ends(start: Start) -> None:
    process = start("-m", "tuimon", "demo", "--steps", 100_000)
    assert process.stdout is not None
    pid = int(process.stdout.readline().split("pid ")[1].split()[0])
    watched = os.pidfd_open(pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    try:
        # Readable once that very process has ended.
        ended, _, _ = select.select([watched], [], [], PATIENCE_S)
    finally:
        os.close(watched)
    assert ended
