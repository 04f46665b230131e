"""Forks, spawned workers, a directory that vanishes, and twenty thousand steps."""

from __future__ import annotations

import collections
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from observing import PATIENCE_S, complaints
from torch import nn

import tuimon
from tuimon.agent.agent import Agent
from tuimon.agent.pacing.memory import rss_bytes
from tuimon.agent.pacing.schedule import Schedule
from tuimon.records.record import Record
from tuimon_kernels import backend


def step(model: nn.Module, optimizer: torch.optim.Optimizer, n: int = 6) -> None:
    optimizer.zero_grad()
    model(torch.randn(n, 4)).square().mean().backward()
    optimizer.step()


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_of_a_loader_are_not_watched(
    method: str, start: Callable[..., subprocess.Popen[str]]
) -> None:
    out, err = start("load_data.py", method).communicate(timeout=PATIENCE_S)
    assert complaints(err) == ""
    assert json.loads(out) == {"workers": 0.0, "rows": 2.0 * sum(range(24)), "listens": True, "steps": 8}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_trains_unwatched_and_leaves_the_socket(runtime: Path) -> None:
    model = nn.Linear(4, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with tuimon.watch(model, optimizer, every=1) as monitor:
        path = monitor.path
        assert path is not None
        step(model, optimizer)
        child = os.fork()
        if child == 0:
            try:
                # Without autograd: its threads do not survive a fork.
                for parameter in model.parameters():
                    parameter.grad = torch.ones_like(parameter)
                optimizer.step()
                tuimon.log(x=1.0)
                monitor.close()
                os._exit(0 if not model._forward_hooks and not monitor._roots else 3)
            finally:
                os._exit(4)
        assert os.waitpid(child, 0)[1] == 0
        assert path.exists()
        step(model, optimizer)
        assert len(model._forward_hooks) > 0
    assert not path.exists()


def test_a_socket_directory_that_vanishes(runtime: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = nn.Linear(4, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with tuimon.watch(model, optimizer, every=1):
        step(model, optimizer)
        shutil.rmtree(runtime)
        for _ in range(3):
            step(model, optimizer)
        assert len(model._forward_hooks) > 0
    assert capsys.readouterr().err == ""


def test_nothing_grows_over_twenty_thousand_steps() -> None:
    kernels = backend("cpu")
    assert kernels is not None
    published: collections.deque[Record] = collections.deque(maxlen=8)
    left: list[str] = []
    model = nn.Linear(4, 1, bias=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    agent = Agent(kernels, Schedule(0.01, 1), published.append, left.append)
    agent.add_root(model, None)
    agent.start()
    marks = []
    try:
        for i in range(1, 20_001):
            step(model, optimizer, 2)
            if i in (2_000, 20_000):
                rss = rss_bytes()
                assert rss is not None
                marks.append((rss, threading.active_count(), len(os.listdir("/proc/self/fd"))))
    finally:
        agent.stop()
    assert left == []
    assert agent.optimizers.step == 20_000
    (early_bytes, *early), (late_bytes, *late) = marks
    assert late == early
    # The smallest object that a step could leave behind, a float in a list, is 32 bytes.
    assert late_bytes - early_bytes < 18_000 * 32
