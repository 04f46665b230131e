"""Steps of small models, observed in this process."""

from __future__ import annotations

from collections.abc import Callable

import torch
from observing import Observed, observing
from torch import nn

Inputs = Callable[[], torch.Tensor]


def vectors() -> torch.Tensor:
    return torch.randn(6, 4)


def tokens() -> torch.Tensor:
    return torch.randint(10, (3, 5))


def step(model: nn.Module, optimizer: torch.optim.Optimizer, inputs: Inputs = vectors) -> torch.Tensor:
    x = inputs()
    optimizer.zero_grad()
    out: torch.Tensor = model(x)
    out.square().sum().backward()
    optimizer.step()
    return x


def observe(model: nn.Module, steps: int = 3, inputs: Inputs = vectors) -> Observed:
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.01)
    with observing(model) as seen:
        for _ in range(steps):
            step(model, optimizer, inputs)
    assert len(seen.samples) == steps
    return seen
