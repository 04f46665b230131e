"""The loss of what goes through the engine in other ways than `loss.backward()`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from observing import observing
from torch import nn
from torch.autograd import grad

from tuimon.agent.guard import Guard
from tuimon.agent.stepping.engine import ENGINE, EngineTap


def mlp() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))


def loss_of(model: Callable[..., Any]) -> torch.Tensor:
    loss: torch.Tensor = model(torch.randn(6, 4)).square().mean()
    return loss


def test_gradients_that_autograd_grad_returned_and_an_optimizer_applied() -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    losses, norms = [], []
    with observing(model) as seen:
        for _ in range(3):
            loss = loss_of(model)
            parameters = list(model.parameters())
            for p, g in zip(parameters, grad(loss, parameters), strict=True):
                p.grad = g
            norms.append(float(sum(p.grad.double().square().sum() for p in parameters)) ** 0.5)
            optimizer.step()
            losses.append(loss.item())
    assert seen.losses == losses
    assert [sample.grad_norm for sample in seen.samples] == pytest.approx(norms, rel=1e-5)


def test_the_inner_loop_of_meta_learning_is_not_the_loss() -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    losses = []
    with observing(model) as seen:
        for _ in range(3):
            weights = dict(model.named_parameters())
            inner = loss_of(lambda x, w=weights: torch.func.functional_call(model, w, (x,)))
            asked = torch.autograd.grad(inner, list(weights.values()), create_graph=True)
            fast = {name: w - 0.1 * g for (name, w), g in zip(weights.items(), asked, strict=True)}
            outer = loss_of(lambda x, w=fast: torch.func.functional_call(model, w, (x,)))
            optimizer.zero_grad()
            outer.backward()
            optimizer.step()
            losses.append(outer.item())
    assert seen.losses == losses


def test_a_gradient_penalty_is_not_the_loss() -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    losses = []
    with observing(model) as seen:
        for _ in range(3):
            x = torch.randn(6, 4, requires_grad=True)
            out = model(x)
            (slope,) = torch.autograd.grad(out.sum(), x, create_graph=True)
            loss = out.square().mean() + (slope.norm(dim=1) - 1).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    assert seen.losses == losses
    assert [sample.microbatches for sample in seen.samples] == [1] * 3


class Listening:
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def run_begins(self, roots: Any, inputs: Any) -> None:
        self.told.append("backward" if inputs is None else f"grad of {len(inputs)}")

    def run_ends(self, inputs: Any, result: Any) -> None:
        self.told.append("ends" if result is None else f"returned {len(result)}")

    def run_failed(self) -> None:
        self.told.append("failed")


def test_what_a_listener_is_told() -> None:
    bare, listening = getattr(torch.autograd, ENGINE), Listening()
    failures: list[str] = []
    tap = EngineTap(Guard(failures.append))
    x = torch.ones(3, requires_grad=True)
    tap.add(listening)
    x.sum().backward()
    grad(x.sum(), [x])
    torch.autograd.backward([x.sum(), x.prod()])
    with pytest.raises(RuntimeError):
        torch.ones(1).sum().backward()
    # A backward that runs inside of another one is a part of it.
    def within(gradient: torch.Tensor) -> None:
        with torch.enable_grad():
            torch.ones(1, requires_grad=True).sum().backward()

    x.register_hook(within)
    x.sum().backward()
    tap.remove(listening)
    x.sum().backward()
    assert getattr(torch.autograd, ENGINE) is bare
    assert listening.told == [
        "backward", "ends", "grad of 1", "returned 1", "backward", "ends", "backward", "failed",
        "backward", "ends",
    ]  # fmt: skip
    assert failures == []


def test_batched_gradients_pass_untouched() -> None:
    model = mlp()
    with observing(model):
        x = torch.randn(1, 4)
        wanted = torch.stack([torch.autograd.grad(model(x)[0, i], model[0].weight)[0] for i in range(2)])
        out = model(x)[0]
        (got,) = torch.autograd.grad(out, model[0].weight, torch.eye(2), is_grads_batched=True)
        jacobian = torch.func.jacrev(lambda w: torch.func.functional_call(model, {"0.weight": w}, (x,)))(
            model[0].weight
        )
    assert torch.equal(got, wanted)
    assert torch.allclose(jacobian[0], wanted)
