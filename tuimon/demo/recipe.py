"""What each of the demo's trainings is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import nn

from tuimon.demo.model import ByteTransformer, Shape

MakeOptimizer = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]


def adamw(lr: float) -> MakeOptimizer:
    """AdamW with that learning rate, otherwise as people run it on transformers."""
    return lambda parameters: torch.optim.AdamW(parameters, lr=lr, weight_decay=0.1)


def sgd(lr: float) -> MakeOptimizer:
    """Gradient descent with momentum."""
    return lambda parameters: torch.optim.SGD(parameters, lr=lr, momentum=0.9)


def leave_alone(model: ByteTransformer) -> None:
    """Nothing is wrong with how the model begins."""


def silence_a_block(model: ByteTransformer) -> None:
    """Push every pre-activation of one block's MLP so far below zero that no gradient comes back."""
    nn.init.constant_(model.get_parameter("blocks.2.mlp.up.bias"), -8.0)


@dataclass(frozen=True, slots=True)
class Recipe:
    """A model, an optimizer, and what is done to the model before the first step."""

    shape: Shape
    optimizer: MakeOptimizer
    spoil: Callable[[ByteTransformer], None] = leave_alone



_SENSIBLE = adamw(1e-3)

#: By name of the scenario; tests/demo looks at each with plain torch.
RECIPES: dict[str, Recipe] = {
    "healthy": Recipe(Shape(), _SENSIBLE),
    "dead": Recipe(Shape(), _SENSIBLE, spoil=silence_a_block),
    "exploding": Recipe(Shape(activation=nn.Tanh, norms=False, skips=False, gain=20.0), _SENSIBLE),
    "vanishing": Recipe(Shape(activation=nn.Sigmoid, norms=False, skips=False), sgd(0.1)),
    "lr": Recipe(Shape(), adamw(1.0)),
    # Learns fast, so that the scores outgrow half precision soon.
    "nan": Recipe(Shape(reckless_softmax=True), adamw(3e-3)),
}
