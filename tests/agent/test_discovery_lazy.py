"""Models and optimizers of a process that never named them, found from its own steps."""

from __future__ import annotations

import copy

import pytest
import torch
from entering import Told, entering, mlp, named, names, step
from torch import nn
from torch.nn.modules import module as torch_modules
from torch.optim import optimizer as torch_optimizers

from tuimon.records.hello import Hello
from tuimon.records.layout import Layout

pytestmark = pytest.mark.usefixtures("runtime")

TABLES = [
    (torch_modules, "_global_forward_pre_hooks"),
    (torch_modules, "_global_forward_hooks"),
    (torch_modules, "_global_forward_hooks_always_called"),
    (torch_modules, "_has_any_global_hook"),
    (torch_optimizers, "_global_optimizer_pre_hooks"),
    (torch_optimizers, "_global_optimizer_post_hooks"),
]


def tables() -> list[object]:
    return [getattr(module, name) for module, name in TABLES]


def test_a_model_is_found_within_two_steps_and_observed_in_the_next() -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    step(optimizer, model)
    before = tables()
    with entering() as agent:
        step(optimizer, model)
        assert names(agent) == named(model)
        # Of all hooks for every module none is left; of the optimizers', what an observed step needs.
        assert [a is b for a, b in zip(tables(), before, strict=True)] == [True] * 4 + [False] * 2
        step(optimizer, model)
        assert agent._samples == 1
    assert all(a is b for a, b in zip(tables(), before, strict=True))


def test_viewers_are_greeted_again_once_the_model_is_known() -> None:
    from tuimon.agent import watcher

    model = mlp()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    with entering() as agent:
        here = watcher.current()
        assert here is not None
        told = Told(here.path)
        assert (told.hello.parameters, told.hello.optimizers) == (0, ())
        assert set(told.hello.probes.values()) == {"no step of an optimizer has been seen yet"}
        for _ in range(3):
            step(optimizer, model)
        told.until(lambda r: isinstance(r, Hello) and r.parameters == 58 and r.optimizers == ("Adam",))
        layout = told.until(lambda r: isinstance(r, Layout))
        assert isinstance(layout, Layout)
        assert [layer.name for layer in layout.layers] == ["0", "1", "2"]
        assert set(told.hello.probes.values()) == {"on"}
        assert agent.optimizers.step == 3


def test_an_average_of_the_weights_and_a_model_that_only_evaluates_are_no_roots() -> None:
    model, frozen = mlp(), nn.Linear(4, 4)
    average = copy.deepcopy(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with entering() as agent:
        for _ in range(3):
            step(optimizer, frozen, model)
            with torch.no_grad():
                average(torch.randn(2, 4))
        assert names(agent) == named(model)
