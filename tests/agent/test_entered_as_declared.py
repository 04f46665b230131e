"""An agent that has found what trains tells the same of it as one that was told."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest
import torch
from observing import Observed, observing
from torch import nn

from tuimon.agent.agent import Agent
from tuimon.agent.finding import discovery as discovery_module
from tuimon.agent.finding.discovery import Discovery
from tuimon.agent.pacing.schedule import Schedule
from tuimon_kernels import backend

STEPS, ENTERED_AT, COMPARED = 12, 3, 6

#: A training: its models by name, and what takes one step after the other.
Training = tuple[dict[str | None, nn.Module], Iterator[None]]


def layers() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))


def loss_of(model: nn.Module) -> torch.Tensor:
    out: torch.Tensor = model(torch.randn(6, 4))
    return out.square().mean()


def plain() -> Training:
    model = layers()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

    def steps() -> Iterator[None]:
        while True:
            optimizer.zero_grad()
            loss_of(model).backward()
            optimizer.step()
            yield

    return {None: model}, steps()


def accumulating_and_clipping() -> Training:
    model = layers()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)

    def steps() -> Iterator[None]:
        while True:
            optimizer.zero_grad()
            for _ in range(3):
                (loss_of(model) / 3).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1e-3)
            optimizer.step()
            yield

    return {None: model}, steps()


def failing_now_and_then() -> Training:
    model = layers()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

    def steps() -> Iterator[None]:
        while True:
            with contextlib.suppress(RuntimeError):
                model(torch.randn(6, 5))  # in the first layer, with all hooks in place
            optimizer.zero_grad()
            loss_of(model).backward()
            optimizer.step()
            yield

    return {None: model}, steps()


def taking_turns() -> Training:
    maker, critic = layers(), nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 1))
    one = torch.optim.Adam(maker.parameters(), lr=0.01)
    other = torch.optim.AdamW(critic.parameters(), lr=0.02)

    def steps() -> Iterator[None]:
        while True:
            other.zero_grad()
            critic(maker(torch.randn(6, 4)).detach()).mean().backward()
            other.step()
            one.zero_grad()
            (-critic(maker(torch.randn(6, 4)))).mean().backward()
            one.step()
            yield

    return {"maker": maker, "critic": critic}, steps()


def with_a_closure() -> Training:
    model = layers()
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=3)

    def steps() -> Iterator[None]:
        while True:
            x = torch.randn(6, 4)

            def closure(x: torch.Tensor = x) -> torch.Tensor:
                optimizer.zero_grad()
                loss: torch.Tensor = model(x).square().mean()
                loss.backward()
                return loss

            optimizer.step(closure)
            yield

    return {None: model}, steps()


def with_a_frozen_backbone() -> Training:
    model = nn.Sequential(nn.Linear(4, 4).requires_grad_(False), layers())
    optimizer = torch.optim.Adam(model[1].parameters(), lr=0.01)

    def steps() -> Iterator[None]:
        while True:
            optimizer.zero_grad()
            loss_of(model).backward()
            optimizer.step()
            yield

    return {None: model}, steps()


class Tied(nn.Module):
    """Reads and writes words with one matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.head = nn.Embedding(10, 4), nn.Linear(4, 10, bias=False)
        self.head.weight = self.words.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.head(self.words(x))
        return out


def with_tied_weights() -> Training:
    model = Tied()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

    def steps() -> Iterator[None]:
        while True:
            x = torch.randint(10, (3, 5))
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x).flatten(0, 1), x.flatten()).backward()
            optimizer.step()
            yield

    return {None: model}, steps()


def in_eval_mode() -> Training:
    models, steps = plain()
    for model in models.values():
        model.eval()
    return models, steps


TRAININGS: tuple[Callable[[], Training], ...] = (
    plain,
    accumulating_and_clipping,
    failing_now_and_then,
    taking_turns,
    with_a_closure,
    with_a_frozen_backbone,
    with_tied_weights,
    in_eval_mode,
)


def declared(training: Callable[[], Training]) -> Observed:
    torch.manual_seed(1)
    models, steps = training()
    with observing(models) as seen:
        for _ in range(STEPS):
            next(steps)
    return seen


def entered(training: Callable[[], Training]) -> Observed:
    torch.manual_seed(1)
    _, steps = training()
    for _ in range(ENTERED_AT):
        next(steps)
    kernels = backend("cpu")
    assert kernels is not None
    seen = Observed()
    agent = seen.agent = Agent(kernels, Schedule(0.01, 1), seen.records.append, seen.left.append)
    agent.start_from_outside(
        # What another thread would do happens at once here.
        Discovery(agent.inventory, agent.guard, agent.meter, lambda errand: errand())
    )
    try:
        for _ in range(STEPS - ENTERED_AT):
            next(steps)
    finally:
        agent.stop()
    assert (agent.guard.failure, seen.left) == (None, [])
    return seen


@pytest.mark.parametrize("training", TRAININGS, ids=lambda training: training.__name__)
def test_it_tells_the_same(training: Callable[[], Training], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery_module, "compiled_code", lambda: False)
    told, found = declared(training), entered(training)
    names = {"Sequential": "critic", "Sequential-2": "maker"} if training is taking_turns else {}
    for one, other in zip(told.samples[-COMPARED:], found.samples[-COMPARED:], strict=True):
        assert (one.loss, one.lr, one.microbatches) == (other.loss, other.lr, other.microbatches)
        assert (one.grad_norm, one.grad_norm_preclip) == (other.grad_norm, other.grad_norm_preclip)
        assert dict(one.losses) == dict(other.losses)
        if one.step != other.step:
            # An optimizer without a count of its own: steps since the attach.
            assert one.step - other.step == ENTERED_AT
        stats = {(_renamed(name, names), kind): s for (name, kind), s in found.stats(other).items()}
        expected = told.stats(one)
        assert stats.keys() == expected.keys()
        for key, tensor in expected.items():
            assert (stats[key].sketch, stats[key].update_ratio) == (tensor.sketch, tensor.update_ratio), key


def _renamed(name: str, names: dict[str, str]) -> str:
    root, dot, rest = name.partition(".")
    return names.get(root, root) + dot + rest


def test_a_model_that_is_replaced_is_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery_module, "compiled_code", lambda: False)
    kernels = backend("cpu")
    assert kernels is not None
    seen = Observed()
    agent = Agent(kernels, Schedule(0.01, 1), seen.records.append, seen.left.append)
    agent.start_from_outside(Discovery(agent.inventory, agent.guard, agent.meter, lambda errand: errand()))
    try:
        for training in (plain, with_tied_weights):
            models, steps = training()
            for _ in range(5):
                next(steps)
            names = [p.name for p in agent.inventory.parameters]
            assert names == [name for model in models.values() for name, _ in model.named_parameters()]
            del models, steps
    finally:
        agent.stop()
    assert (agent.guard.failure, seen.left) == (None, [])
    assert agent.optimizers.names() == ()
