"""Models and optimizers of a process that never named them, found from its own steps."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from entering import Told, entered, entering, mlp, named, names, step
from torch import nn
from torch.nn.modules import module as torch_modules
from torch.optim import optimizer as torch_optimizers

from tuimon.agent import watcher
from tuimon.agent.finding import discovery, forwards
from tuimon.records.hello import Hello
from tuimon.records.layout import Layout

pytestmark = pytest.mark.usefixtures("runtime")


@pytest.fixture(autouse=True)
def _nothing_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    # Whatever other tests have compiled in this process.
    monkeypatch.setattr(discovery, "compiled_code", lambda: False)


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
        assert agent.samples == 1
    assert all(a is b for a, b in zip(tables(), before, strict=True))


def test_viewers_are_greeted_again_once_the_model_is_known() -> None:
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
        assert told.hello.probes["activations"] == told.hello.probes["gradients"] == "on"
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


def test_what_wraps_the_model_for_evaluation_only_is_not_its_root() -> None:
    model = mlp()
    shown = nn.Sequential(model, nn.Softmax(-1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with entering() as agent:
        for _ in range(2):
            with torch.no_grad():
                shown(torch.randn(2, 4))
            step(optimizer, model)
        assert names(agent) == named(model)


class Broken(nn.Module):
    """Fails now and then, in the middle of its forward."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = mlp()
        self.fails = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.inner[0](x)
        if self.fails:
            raise ArithmeticError
        out: torch.Tensor = self.inner[2](self.inner[1](x))
        return out


def test_a_forward_that_fails_while_it_is_searched_for() -> None:
    model = Broken()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    step(optimizer, model)
    with entering() as agent:
        model.fails = True
        with pytest.raises(ArithmeticError):
            step(optimizer, model)
        model.fails = False
        for _ in range(2):
            step(optimizer, model)
        assert names(agent) == named(model)


class Entered(nn.Module):
    """Lets the process be entered in the middle of its forward."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)
        self.between: Callable[[], object] = lambda: None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        between, self.between = self.between, lambda: None
        between()
        return self.third(self.second(x))


def test_entered_in_the_middle_of_a_forward() -> None:
    model = Entered()
    # A module that is called after the entry owns all that this optimizer steps, and is no root.
    optimizer = torch.optim.SGD(model.third.parameters(), lr=0.1)
    model.between = entered
    step(optimizer, model)
    here = watcher.current()
    assert here is not None
    assert names(here.agent) == []
    step(optimizer, model)
    assert names(here.agent) == named(model)
    step(optimizer, model)
    assert here.agent.samples == 1
    here.end("closed")


def test_an_optimizer_for_each_parameter_that_steps_inside_of_backward() -> None:
    model = nn.Sequential(*[nn.Linear(4, 4) for _ in range(50)])
    optimizers = {p: torch.optim.SGD([p], lr=0.1) for p in model.parameters()}

    def in_backward(parameter: torch.Tensor) -> None:
        optimizers[parameter].step()  # type: ignore[index]
        parameter.grad = None

    handles = [p.register_post_accumulate_grad_hook(in_backward) for p in model.parameters()]
    # Entered in the middle of a backward, when most of them are still to step.
    handles.append(model[-1].weight.register_hook(lambda _: bool(entered()) and None))
    model(torch.randn(2, 4)).sum().backward()
    handles.pop().remove()
    here = watcher.current()
    assert here is not None
    for _ in range(3):
        model(torch.randn(2, 4)).sum().backward()
    assert names(here.agent) == named(model)
    assert here.agent.samples >= 1
    here.end("closed")
    for handle in handles:
        handle.remove()


def test_a_long_validation_before_the_first_step_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forwards, "MOST_CALLS", 50)
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    before = tables()
    with entering() as agent:
        assert tables()[:4] != before[:4]
        for _ in range(20):
            model(torch.randn(2, 4))
        assert [a is b for a, b in zip(tables(), before, strict=True)] == [True] * 5 + [False]
        for _ in range(2):
            step(optimizer, model)
        assert names(agent) == named(model)
