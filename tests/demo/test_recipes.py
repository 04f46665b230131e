"""Each sick recipe really has its fault, and the same training without it has none: by plain torch."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from plain_look import Look, look

from tuimon.demo.recipe import RECIPES, Recipe, leave_alone
from tuimon.demo.scenario import SCENARIOS

STEPS = 40

#: TheDeepChecker's bounds on how a gradient may change from layer to layer.
DECAY, GROWTH = 0.5, 2.0


def cured(name: str) -> Recipe:
    """The scenario's training with its fault taken out and nothing else changed."""
    sick, healthy = RECIPES[name], RECIPES["healthy"]
    match name:
        case "dead":
            return replace(sick, spoil=leave_alone)
        case "exploding":
            return replace(sick, shape=replace(sick.shape, norms=True, skips=True, gain=1.0))
        case "vanishing":
            return replace(sick, shape=replace(sick.shape, norms=True, skips=True))
        case "lr":
            return replace(sick, optimizer=healthy.optimizer)
        case "nan":
            return replace(sick, shape=replace(sick.shape, reckless_softmax=False))
    raise KeyError(name)


def depth_factor(look: Look) -> float:
    """Factor by which the gradient grows from one block to the one before it; geometric mean."""
    logs = [
        math.log(first / last) / (len(blocks) - 1)
        for blocks in look.gradients
        for first, last in [(blocks[0], blocks[-1])]
    ]
    return math.exp(sum(logs) / len(logs))


def learned(look: Look) -> float:
    """Nats by which the loss fell."""
    return look.losses[0] - min(look.losses[-10:])


def test_there_is_a_recipe_for_every_scenario() -> None:
    assert RECIPES.keys() == SCENARIOS.keys()


@pytest.mark.parametrize("name", ["dead", "exploding", "vanishing", "lr", "nan"])
def test_without_its_fault_the_training_is_healthy(name: str) -> None:
    well = look(cured(name), STEPS)
    assert learned(well) > 2.0
    assert DECAY < depth_factor(well) < GROWTH
    assert max(well.silent) < 0.1
    assert well.first_nonfinite is None
    assert min(min(step) for step in well.updates) > 1e-5
    # Past the first steps, in which Adam's moments form; cs231n calls 1e-3 normal.
    assert max(max(step) for step in well.updates[10:]) < 2e-2


def test_dead_the_units_of_one_block_are_never_above_zero() -> None:
    sick = look(RECIPES["dead"], STEPS)
    assert sick.silent[2] == 1.0
    assert max(share for block, share in enumerate(sick.silent) if block != 2) < 0.1
    assert all(step[2] == 0.0 for step in sick.gradients)


def test_exploding_the_gradient_grows_towards_the_input() -> None:
    sick = look(RECIPES["exploding"], STEPS)
    assert depth_factor(sick) > 2 * GROWTH
    # Worse than knowing nothing, which costs log(256).
    assert min(sick.losses) > math.log(256)


def test_vanishing_the_gradient_decays_and_the_first_block_does_not_move() -> None:
    sick = look(RECIPES["vanishing"], STEPS)
    assert depth_factor(sick) < DECAY / 2
    # Far below the distance of neighbouring float32 numbers: next to no weight changes at all.
    assert max(step[0] for step in sick.updates) < 2.0**-24
    assert max(step[-1] for step in sick.updates) > 1e-4


def test_lr_the_loss_rises_far_above_its_start_and_stays_there() -> None:
    sick = look(RECIPES["lr"], STEPS)
    assert all(math.isfinite(loss) for loss in sick.losses)
    assert min(sick.losses[2:]) > 2 * sick.losses[0]
    # A tenth is the upper end of what TheDeepChecker calls normal.
    assert sorted(max(step) for step in sick.updates)[STEPS // 4] > 5e-2


def test_nan_the_softmax_overflows_in_mid_training() -> None:
    sick = look(RECIPES["nan"], STEPS)
    assert sick.first_nonfinite is not None
    module, step = sick.first_nonfinite
    assert module.endswith("attn.weigh")
    assert step > 10
    assert math.isnan(sick.losses[-1])
    assert learned_before(sick) > 1.0


def learned_before(look: Look) -> float:
    return look.losses[0] - look.losses[-2]
