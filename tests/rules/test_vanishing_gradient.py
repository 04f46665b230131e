"""Vanishing gradients: far below the late layers' and standing still; nothing less."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.rules.synthetic_runs import HELLO, Run, perceptron, with_optimizers
from tuimon.records.alert import AlertState
from tuimon.records.layout import Layout

DEPTH = 8
DECAY = 1e-2 * 0.3 ** np.arange(DEPTH)[::-1]
#: Plain SGD moves a weight in proportion to its gradient.
MOVES = 0.3 * DECAY


def run_of(gradients: object, updates: object, steps: int = 12, **options: object) -> Run:
    run = Run(perceptron(DEPTH), **options)  # type: ignore[arg-type]
    for _ in range(steps):
        run.step(2.3, gradients=run.noisy(gradients), updates=run.noisy(updates))
    return run


def test_fires_on_a_decay_through_the_layers_that_stand_still() -> None:
    run = run_of(DECAY, MOVES)
    alert = run.alert("vanishing_gradient")
    assert alert.where[0] == "fc0.weight"
    assert (alert.since_step, alert.step) == (1, 7)
    assert run.fired == ["vanishing_gradient"]


def test_fires_when_early_gradients_are_exact_zeros() -> None:
    gradients = np.where(np.arange(DEPTH) < 3, 0.0, DECAY)
    assert run_of(gradients, 0.3 * gradients).firing == {"vanishing_gradient"}


def test_began_where_the_profile_fell_and_resolves_when_it_is_back() -> None:
    run = Run(perceptron(DEPTH))
    run.healthy(30)
    for _ in range(12):
        run.step(1.0, gradients=DECAY, updates=MOVES)
    assert run.alert("vanishing_gradient").since_step == 31
    run.healthy(30)
    assert run.firing == set()
    assert run.news[-1].state is AlertState.RESOLVED


@pytest.mark.parametrize(
    ("gradients", "updates"),
    [
        (DECAY, 2e-3),  # an adaptive optimizer moves every layer at full speed
        (DECAY * 1e-2, np.maximum(MOVES, 3e-4)),  # slow, but it moves
        (np.where(np.arange(DEPTH) < 2, 1e-9, 1e-2), np.where(np.arange(DEPTH) < 2, 0.0, 2e-3)),  # a cut
        (1e-2 * 0.6 ** np.arange(DEPTH)[::-1], 1e-3 * 0.6 ** np.arange(DEPTH)[::-1]),  # mild decay
        (1e-2 * 0.45 ** np.arange(DEPTH)[::-1], 1e-3 * 0.2 ** np.arange(DEPTH)[::-1]),  # steeper, learns
        (DECAY, 0.0),  # nothing moves at all: the rate of a warm-up that has not begun
        (1e-9, 1e-10),  # at the optimum everything is small
    ],
    ids=["adam", "moves", "cut", "mild", "steeper", "warm-up", "optimum"],
)
def test_silent_on(gradients: object, updates: object) -> None:
    assert "vanishing_gradient" not in run_of(gradients, updates, steps=40).fired


def test_all_gradients_shrinking_together_is_the_optimum() -> None:
    run = Run(perceptron(DEPTH))
    for i in range(100):
        scale = 10.0 ** (-i / 8)
        run.step(2.3 * scale, gradients=run.noisy(np.full(DEPTH, 1e-2)) * scale, updates=2e-3 * scale)
    assert run.fired == []


def test_frozen_layers_embeddings_and_shallow_models_are_left_out() -> None:
    base = perceptron(DEPTH)
    frozen = Layout(1, base.layers, tuple(replace(t, trainable=False) if t.name < "fc6" and t.trainable
                                          else t for t in base.tensors))  # fmt: skip
    run = Run(frozen)
    for _ in range(20):
        run.step(1.0, gradients=DECAY, updates=MOVES)
    assert run.fired == []
    assert "a depth profile needs" in str(run.session.judgements["vanishing_gradient"])


def test_parts_trained_in_turn_have_no_common_depth() -> None:
    layers = [perceptron(4, prefix=f"{part}.") for part in ("generator", "critic")]
    shift = len(layers[0].layers)
    joined = Layout(
        1,
        layers[0].layers + layers[1].layers,
        layers[0].tensors
        + tuple(replace(t, layer=t.layer + shift) for t in layers[1].tensors if t.layer is not None),
    )
    gradients = np.where(np.arange(8) < 4, 1e-8, 1e-2)
    for hello, fires in ((with_optimizers("Adam", "Adam"), False), (HELLO, False)):
        run = Run(joined, hello)
        for _ in range(20):
            run.step(1.0, gradients=gradients, updates=0.2 * gradients)
        assert ("vanishing_gradient" in run.fired) is fires


def test_abstains_until_it_has_seen_enough() -> None:
    run = run_of(DECAY, MOVES, steps=2)
    assert str(run.session.judgements["vanishing_gradient"]) == "not judged: only 2 observed steps of 4"


@settings(max_examples=8, deadline=None)
@given(scale=st.floats(1e-6, 1e6), seed=st.integers(0, 2**16))
def test_the_scale_of_all_gradients_changes_nothing(scale: float, seed: int) -> None:
    for gradients, updates in ((DECAY, MOVES), (np.full(DEPTH, 1e-2), np.full(DEPTH, 2e-3))):
        plain = run_of(gradients, updates, seed=seed)
        scaled = run_of(gradients * scale, updates, seed=seed)
        assert ("vanishing_gradient" in plain.fired) == ("vanishing_gradient" in scaled.fired)


@settings(max_examples=8, deadline=None)
@given(profile=st.permutations(list(np.logspace(-3, -1.5, DEPTH))), seed=st.integers(0, 2**16))
def test_healthy_noise_in_any_order_never_fires(profile: list[float], seed: int) -> None:
    gradients = np.array(profile)
    assert run_of(gradients, 0.2 * gradients, steps=30, seed=seed).fired == []
