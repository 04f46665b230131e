"""Trainings without an optimizer, in a process that was entered."""

from __future__ import annotations

import gc

import pytest
import torch
from entering import Told, entered, entering, mlp, named, names
from torch import nn

from tuimon.agent.finding import discovery
from tuimon.agent.stepping.engine import ENGINE
from tuimon.records.sample import Sample
from tuimon.wire.commands import Detach

pytestmark = pytest.mark.usefixtures("runtime")


@pytest.fixture(autouse=True)
def _nothing_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    # Whatever other tests have compiled in this process.
    monkeypatch.setattr(discovery, "compiled_code", lambda: False)


def train(model: nn.Module, steps: int) -> None:
    for _ in range(steps):
        model(torch.randn(6, 4)).square().mean().backward()
        with torch.no_grad():
            for p in model.parameters():
                p -= 0.05 * p.grad
                p.grad = None


def test_the_model_is_found_and_so_is_the_one_that_replaces_it() -> None:
    model = mlp()
    train(model, 2)
    with entering() as agent:
        train(model, 8)
        assert names(agent) == named(model)
        before = agent.samples
        assert before >= 4
        model = mlp()
        gc.collect()
        train(model, 8)
        assert names(agent) == named(model)
        assert agent.samples > before


def test_a_model_beside_that_is_not_trained_is_not_found() -> None:
    model, average = mlp(), mlp()
    with entering() as agent:
        for _ in range(6):
            train(model, 1)
            average(torch.randn(2, 4))
            with torch.no_grad():
                for p, q in zip(average.parameters(), model.parameters(), strict=True):
                    p.lerp_(q, 0.1)
        assert names(agent) == named(model)


def test_it_leaves_at_the_end_of_a_step() -> None:
    bare, model = getattr(torch.autograd, ENGINE), mlp()
    here = entered()
    told = Told(here.path)
    train(model, 8)
    told.until(lambda record: isinstance(record, Sample))
    here.agent.commands.append(Detach())
    train(model, 2)
    assert told.until_end().reason == "detached"
    assert getattr(torch.autograd, ENGINE) is bare
    assert not any(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())
