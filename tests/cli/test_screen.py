"""`attach` on a terminal: the screen opens, and leaving it leaves the training alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from agent_double import frames, sample
from command_line import BYE, GREETING, PID, Agent
from terminal import terminal


@pytest.mark.parametrize("size", [(80, 24), (160, 48)])
def test_attach_opens_the_screen_and_q_leaves_it(runtime: Path, agent: Agent, size: tuple[int, int]) -> None:
    agent(GREETING, frames(*(sample(index, loss=2.5) for index in range(1, 40))))
    with terminal(*size, runtime, "attach", PID) as shown:
        shown.until("encoder")
        shown.press("q")
        assert shown.to_the_end() == 0
        assert f"process {PID} goes on" in shown.shown
        assert "Traceback" not in shown.shown


def test_a_terminal_that_is_too_small_says_which_size_it_needs(runtime: Path, agent: Agent) -> None:
    agent(GREETING, frames(sample(1), BYE))
    with terminal(50, 10, runtime, "attach", PID) as shown:
        shown.until("60x16")
        shown.press("q")
        assert shown.to_the_end() == 0
        assert "Traceback" not in shown.shown


def test_on_a_terminal_too_a_failure_is_one_line(runtime: Path) -> None:
    with terminal(80, 24, runtime, "attach", 2**22 + 1) as shown:
        assert shown.to_the_end() == 1
        assert shown.shown.count("\n") == 1
        assert f"no process {2**22 + 1}" in shown.shown
