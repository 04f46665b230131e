"""What a person would do without tuimon: plain hooks, every step, on the demo's own recipes."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

import torch
from torch import nn
from torch.nn import functional as F

from tuimon.demo.model import ByteTransformer
from tuimon.demo.recipe import Recipe
from tuimon.demo.text import random_batch, standard_library


@dataclass
class Look:
    """Per step unless said otherwise; per block means of the weight of `mlp.up`."""

    losses: list[float] = field(default_factory=list)
    #: RMS of the gradient, per block.
    gradients: list[list[float]] = field(default_factory=list)
    #: Relative update, per block.
    updates: list[list[float]] = field(default_factory=list)
    #: Over all steps: share of each block's units that never were above zero.
    silent: list[float] = field(default_factory=list)
    #: Over all steps: the first module whose output was not finite, and that step.
    first_nonfinite: tuple[str, int] | None = None


@cache
def look(recipe: Recipe, steps: int, seed: int = 0) -> Look:
    """Train for `steps` steps, fewer if the loss stops being finite, and write down what happens."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the same sums in the same order on every machine
    try:
        return _look(recipe, steps, seed)
    finally:
        torch.set_num_threads(threads)


def _look(recipe: Recipe, steps: int, seed: int) -> Look:
    torch.manual_seed(seed)
    model = ByteTransformer(recipe.shape)
    recipe.spoil(model)
    optimizer = recipe.optimizer(model.parameters())
    text, source = _text(), torch.Generator().manual_seed(seed)
    ups = [model.get_parameter(f"blocks.{i}.mlp.up.weight") for i in range(recipe.shape.blocks)]
    seen = Look()
    awake = [torch.zeros(len(up), dtype=torch.bool) for up in ups]
    step = 0

    def finite(name: str):
        def hook(_module: nn.Module, _inputs: object, output: torch.Tensor) -> None:
            if seen.first_nonfinite is None and not output.isfinite().all():
                seen.first_nonfinite = (name, step)

        return hook

    def mark(units: torch.Tensor):
        def hook(_module: nn.Module, _inputs: object, output: torch.Tensor) -> None:
            units.logical_or_((output > 0).flatten(0, 1).any(0))

        return hook

    for name, module in model.named_modules():
        if not list(module.children()):
            module.register_forward_hook(finite(name))
    for i, units in enumerate(awake):
        model.get_submodule(f"blocks.{i}.mlp.act").register_forward_hook(mark(units))

    for step in range(1, steps + 1):  # noqa: B007  `finite` reads it
        inputs, targets = random_batch(text, 8, recipe.shape.context, source)
        loss = F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten())
        optimizer.zero_grad()
        loss.backward()
        before = [up.detach().clone() for up in ups]
        optimizer.step()
        seen.losses.append(loss.item())
        if not loss.isfinite():
            break
        seen.gradients.append([up.grad.square().mean().sqrt().item() for up in ups])
        moved = [(up.detach() - old).norm() / old.norm() for up, old in zip(ups, before, strict=True)]
        seen.updates.append([share.item() for share in moved])
    seen.silent = [1 - units.float().mean().item() for units in awake]
    return seen


@cache
def _text() -> torch.Tensor:
    return standard_library()
