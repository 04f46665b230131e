"""Models that no forward shows: found by one look at all objects, or watched by number."""

from __future__ import annotations

import gc
from collections.abc import Callable

import pytest
import torch
from entering import entering, mlp, named, names, step
from observing import PATIENCE_S
from torch import nn

from tuimon.agent.agent import Agent
from tuimon.agent.finding import discovery, scan
from tuimon.agent.introduction import probes

pytestmark = pytest.mark.usefixtures("runtime")


@pytest.fixture(autouse=True)
def _nothing_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    # Whatever other tests have compiled in this process.
    monkeypatch.setattr(discovery, "compiled_code", lambda: False)


class Scans:
    """Counts the looks at all objects, and waits for them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        monkeypatch.setattr(discovery, "outermost_modules", self._look)

    def _look(self) -> object:
        self.count += 1
        return scan.outermost_modules()


@pytest.fixture
def scans(monkeypatch: pytest.MonkeyPatch) -> Scans:
    return Scans(monkeypatch)


def steps_until(true: Callable[[], bool], take: Callable[[], None]) -> None:
    """Take steps until it is true; what another thread does meanwhile takes its time."""
    import threading

    pause = threading.Event()
    for _ in range(int(PATIENCE_S * 500)):
        if true():
            return
        take()
        pause.wait(0.002)
    raise AssertionError("it never came true")


def found(agent: Agent, take: Callable[[], None]) -> list[str]:
    """The names found once the search is over."""
    assert agent.discovery is not None
    steps_until(lambda: not agent.discovery.searching, take)  # type: ignore[union-attr]
    return names(agent)


class Pair(nn.Module):
    """Its forward is called by hand, as a LightningModule's training_step is."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.first(x))


def test_the_forward_called_by_hand_shows_leaves_and_the_scan_the_model(scans: Scans) -> None:
    model = Pair()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with entering() as agent:
        assert found(agent, lambda: step(optimizer, model.forward)) == named(model)
        step(optimizer, model.forward)
        assert probes(agent)["activations"] == "on"
    assert scans.count == 1


def test_two_models_of_one_optimizer_are_two_roots(scans: Scans) -> None:
    one, two = nn.Linear(4, 4), mlp()
    optimizer = torch.optim.SGD([*one.parameters(), *two.parameters()], lr=0.1)
    with entering() as agent:
        shown = found(agent, lambda: step(optimizer, one, two))
    linear = [f"Linear.{name}" for name in named(one)]
    assert sorted(shown) == sorted(linear + [f"Sequential.{name}" for name in named(two)])
    assert scans.count == 1


def test_a_model_called_directly_needs_no_scan(scans: Scans) -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with entering() as agent:
        assert found(agent, lambda: step(optimizer, model)) == named(model)
    assert scans.count == 0


def test_parameters_of_no_module_are_numbered(scans: Scans) -> None:
    model, scale = mlp(), torch.ones((), requires_grad=True)
    optimizer = torch.optim.SGD([*model.parameters(), scale], lr=0.1)
    with entering() as agent:
        shown = found(agent, lambda: step(optimizer, model, lambda x: scale * x))
        step(optimizer, model, lambda x: scale * x)
        assert shown == [*named(model), "parameter.0"]
        assert probes(agent)["names"] == (
            "no module was found that owns all that is trained; the rest is numbered"
        )
        assert probes(agent)["gradients"] == "on"
    assert scans.count == 1


def test_frozen_objects_are_not_found_and_that_is_said(scans: Scans) -> None:
    model = Pair()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    gc.freeze()
    try:
        with entering() as agent:
            shown = found(agent, lambda: step(optimizer, model.forward))
    finally:
        gc.unfreeze()
    # The leaves that were called, since nothing else is known of them.
    assert sorted(shown) == ["Linear-2.bias", "Linear-2.weight", "Linear.bias", "Linear.weight"]
    assert scans.count == 1


def test_frozen_tensors_without_modules(scans: Scans) -> None:
    weight = torch.randn(4, 2, requires_grad=True)
    optimizer = torch.optim.SGD([weight], lr=0.1)
    gc.freeze()
    try:
        with entering() as agent:
            assert found(agent, lambda: step(optimizer, lambda x: x @ weight)) == ["parameter.0"]
            assert "gc.freeze has hidden some objects" in probes(agent)["names"]
    finally:
        gc.unfreeze()


def test_an_optimizer_of_something_else_that_lives_for_a_moment_costs_one_search(scans: Scans) -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def adversarial() -> None:
        delta = torch.zeros(6, 4, requires_grad=True)
        inner = torch.optim.SGD([delta], lr=0.1)
        for _ in range(3):
            inner.zero_grad()
            delta.square().sum().backward()
            inner.step()
        step(optimizer, model, lambda x: x.sum(1, keepdim=True) + delta[:, :2].detach())

    with entering() as agent:
        for _ in range(200):
            adversarial()
        assert names(agent) == named(model)
        assert agent.optimizers.names() == ("SGD",)
        assert agent.samples > 100
    # One for the first of them; the next would come a second later, then two, and so on.
    assert scans.count <= 5


def test_an_optimizer_of_loose_tensors_that_stays_is_a_part_of_the_training(
    scans: Scans, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discovery, "FIRST_PAUSE_S", 0.0)
    model, temperature = mlp(), torch.ones((), requires_grad=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    other = torch.optim.Adam([temperature], lr=0.1)

    def take() -> None:
        step(optimizer, model)
        other.zero_grad()
        temperature.square().backward()
        other.step()

    with entering() as agent:
        steps_until(lambda: "parameter.0" in names(agent), take)
        assert agent.optimizers.names() == ("SGD", "Adam")


def test_models_that_come_later_are_found(scans: Scans) -> None:
    model, later = mlp(), nn.Linear(4, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    other = torch.optim.Adam(later.parameters(), lr=0.1)
    with entering() as agent:
        for _ in range(3):
            step(optimizer, model)
        assert names(agent) == named(model)
        for _ in range(3):
            step(optimizer, model)
            step(other, later)
        both = [f"Sequential.{name}" for name in named(model)] + [f"Linear.{name}" for name in named(later)]
        assert names(agent) == both
        assert agent.optimizers.names() == ("SGD", "Adam")
    assert scans.count == 0
