"""Loss functions of known scores, observed in this process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from observing import observing
from torch import nn

from tuimon.agent.loss.loss_functions import LOSS_FUNCTIONS
from tuimon.records.criterion import ClassCounts, Criterion

Loss = Callable[[torch.Tensor], torch.Tensor]


class Scores(nn.Module):
    """A model whose output is its parameter: what the loss sees is known to the last bit."""

    def __init__(self, values: torch.Tensor) -> None:
        super().__init__()
        self.values = nn.Parameter(values)

    def forward(self) -> torch.Tensor:
        return self.values * 1.0


def observed(values: torch.Tensor, loss: Loss, microbatches: int = 1) -> tuple[Criterion, ...]:
    """The terms of one step with this loss of these scores."""
    model = Scores(values.clone())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with observing(model) as seen:
        for _ in range(microbatches):
            loss(model()).sum().backward()
        optimizer.step()
    return seen.samples[-1].criteria


def functions() -> list[Any]:
    return [getattr(function.module, function.attribute) for function in LOSS_FUNCTIONS]


def counts(classes: torch.Tensor) -> ClassCounts:
    values, occurred = torch.unique(classes, return_counts=True)
    return ClassCounts(tuple(values.tolist()), tuple(occurred.tolist()))
