"""Trains a small transformer on the sources of Python's standard library, watched by tuimon.

This file is the example of use: all that tuimon needs is the line with `tuimon.watch`. The
`tuimon.log` further down is optional. Run it by itself with ``python -m tuimon.demo.train`` and,
in a second terminal, ``tuimon attach PID``.
"""

from __future__ import annotations

import argparse
import itertools

import torch
from torch.nn import functional as F

import tuimon
from tuimon.demo.model import ByteTransformer
from tuimon.demo.recipe import RECIPES
from tuimon.demo.scenario import SCENARIOS
from tuimon.demo.text import random_batch, standard_library

ROWS = 8
VALIDATE_EVERY = 50


def train(scenario: str, steps: int | None, seed: int = 0, every: int | None = None) -> None:
    """Train for `steps` optimizer steps, or without end."""
    torch.manual_seed(seed)
    recipe = RECIPES[scenario]
    model = ByteTransformer(recipe.shape)
    recipe.spoil(model)
    optimizer = recipe.optimizer(model.parameters())

    text = standard_library()
    held_out = len(text) // 10
    training, validation = text[:-held_out], text[-held_out:]
    context, source = recipe.shape.context, torch.Generator().manual_seed(seed)

    tuimon.watch(model, optimizer, name=f"demo ({scenario})", every=every)
    for step in itertools.count(1) if steps is None else range(1, steps + 1):
        inputs, targets = random_batch(training, ROWS, context, source)
        loss = F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % VALIDATE_EVERY == 0:
            val_loss = validate(model, validation, context)
            tuimon.log(val_loss=val_loss)
            print(f"step {step}  loss {loss.item():.3f}  val_loss {val_loss:.3f}", flush=True)


@torch.no_grad()
def validate(model: ByteTransformer, text: torch.Tensor, context: int) -> float:
    """Mean loss on four batches of text that is not trained on, the same ones every time."""
    source = torch.Generator().manual_seed(0)
    model.eval()
    losses = []
    for _ in range(4):
        inputs, targets = random_batch(text, ROWS, context, source)
        losses.append(F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten()))
    model.train()
    return torch.stack(losses).mean().item()


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(prog="python -m tuimon.demo.train", description=__doc__)
    parser.add_argument("--scenario", choices=SCENARIOS, default="healthy", help="what is wrong with it")
    parser.add_argument("--steps", type=int, help="steps to train; without end if left out")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every", type=int, help="observe every so many steps, whatever that costs")
    options = parser.parse_args()
    # A model this small gains little from more threads, and waits long where they share a busy core.
    torch.set_num_threads(1)
    train(options.scenario, options.steps, options.seed, options.every)


if __name__ == "__main__":
    main()
