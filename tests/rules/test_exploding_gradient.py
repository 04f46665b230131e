"""Exploding gradients: huge for this run and harmful; not merely large, scaled or rare."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.rules.synthetic_runs import Run, perceptron
from tuimon.records.alert import Severity

DEPTH = 6
RULE = "exploding_gradient"


def test_a_norm_that_stays_far_up_while_the_loss_rises() -> None:
    run = Run()
    run.healthy(40)
    for i in range(8):
        run.step(3.0 + i, gradients=run.noisy(np.full(DEPTH, 0.5)), updates=0.05)
    alert = run.alert(RULE)
    assert alert.since_step == 41
    assert alert.severity is Severity.CRITICAL
    assert alert.where[0] == "fc0.weight"


def test_growth_without_bound_is_seen_early() -> None:
    run = Run()
    run.healthy(10)
    for i in range(12):
        run.step(1.5 * 1.3**i, gradients=1e-2 * 2.0**i, updates=2e-3 * 2.0**i)
    assert RULE in run.fired
    assert run.alert(RULE).since_step <= 16


def test_names_the_layers_that_grew_in_execution_order() -> None:
    run = Run()
    run.healthy(40)
    for i in range(8):
        run.step(3.0 + i, gradients=[1e-2, 1e-2, 1.0, 1.0, 1e-2, 1e-2], updates=0.05)
    assert run.alert(RULE).where == ("fc2.weight", "fc3.weight")


def test_profile_growing_towards_the_input_from_the_first_step() -> None:
    run = Run()
    for _ in range(8):
        run.step(2.3, gradients=run.noisy(1e-2 * 3.0 ** np.arange(DEPTH)[::-1]), updates=5e-3)
    alert = run.alert(RULE)
    assert (alert.since_step, alert.where[0]) == (1, "fc0.weight")


def test_larger_than_the_weights_from_the_first_step() -> None:
    run = Run()
    for _ in range(8):
        run.step(1e6, gradients=run.noisy(np.full(DEPTH, 50.0)), updates=run.noisy(np.full(DEPTH, 8.0)))
    assert RULE in run.firing
    assert run.alert(RULE).since_step == 1


def test_before_clipping_is_what_counts() -> None:
    run = Run()
    for i in range(60):
        exploded = i >= 40
        run.step(2.0 + max(0, i - 40), gradients=1e-2, grad_norm=1.0,
                 grad_norm_preclip=float(run.noisy(200.0 if exploded else 2.0)))  # fmt: skip
    assert RULE in run.firing


def rare_spikes(run: Run) -> None:
    for i in range(200):
        factor = 100.0 if i % 40 == 39 else 1.0
        run.healthy(1, gradients=run.noisy(np.full(DEPTH, 1e-2)) * factor)


def short_bursts_that_recover(run: Run) -> None:
    for i in range(120):
        run.healthy(1, gradients=run.noisy(np.full(DEPTH, 1e-2)) * (50.0 if i % 40 in (37, 38, 39) else 1.0))


def rising_with_warm_up(run: Run) -> None:
    for i in range(100):
        warm = min(1.0, (i + 1) / 40)
        run.healthy(1, gradients=run.noisy(np.full(DEPTH, 2e-2)) * warm**1.5, lr=1e-2 * warm)


def falling_with_warm_up(run: Run) -> None:
    for i in range(100):
        run.healthy(1, gradients=run.noisy(np.full(DEPTH, 1.0)) * 0.9**i, lr=1e-2 * min(1.0, (i + 1) / 40))


def growing_while_the_loss_falls(run: Run) -> None:
    for i in range(150):
        run.healthy(1, gradients=run.noisy(np.full(DEPTH, 1e-3)) * 1.05 ** min(i, 80))


def accumulated_without_division(run: Run) -> None:
    for i in range(120):
        run.healthy(1, gradients=run.noisy(np.full(DEPTH, 1e-2)) * (8.0 if i >= 60 else 1.0))


def scaled_norm_before_the_optimizer(run: Run) -> None:
    for i in range(80):
        scale = 1024.0 if i < 40 else 65536.0
        run.healthy(1, loss_scale=scale, skipped=False, grad_norm_preclip=float(run.noisy(scale)))


def scaled_norm_while_the_loss_rises(run: Run) -> None:
    for i in range(80):
        rise = 1.0 if i < 60 else 1.5
        run.step(rise * float(run.noisy(1.0, 0.01)), grad_norm_preclip=1.0 if i < 60 else 64.0,
                 loss_scale=1.0 if i < 60 else 64.0, skipped=False)  # fmt: skip


def a_jump_that_does_no_harm(run: Run) -> None:
    for i in range(120):
        run.healthy(1, gradients=run.noisy(np.full(DEPTH, 1e-3)) * (40.0 if i >= 60 else 1.0))


def a_small_jump_while_the_loss_rises(run: Run) -> None:
    for i in range(80):
        up = i >= 60
        run.step((2.0 if up else 1.0) * float(run.noisy(1.0, 0.01)), gradients=run.noisy(np.full(DEPTH, 1e-3))
                 * (4.0 if up else 1.0))  # fmt: skip


def tiny_losses(run: Run) -> None:
    run.healthy(150, start=2.3e-9)


def heavy_noise_of_tiny_batches(run: Run) -> None:
    for _ in range(150):
        run.healthy(1, gradients=run.noisy(np.full(DEPTH, 1e-2), 1.5))


def adapters_that_start_at_zero(run: Run) -> None:
    for i in range(60):
        fresh = 1.0 / (i + 1)
        run.healthy(
            1, weights=np.r_[np.full(5, 5e-2), 1e-4 * (i + 1)], updates=np.r_[np.full(5, 2e-3), fresh]
        )


@pytest.mark.parametrize(
    "scene",
    [
        rare_spikes, short_bursts_that_recover, rising_with_warm_up, falling_with_warm_up,
        growing_while_the_loss_falls, accumulated_without_division, scaled_norm_before_the_optimizer,
        scaled_norm_while_the_loss_rises, a_jump_that_does_no_harm, a_small_jump_while_the_loss_rises,
        tiny_losses, heavy_noise_of_tiny_batches, adapters_that_start_at_zero,
    ],
)  # fmt: skip
@pytest.mark.parametrize("seed", range(2))
def test_silent_on(scene: object, seed: int) -> None:
    run = Run(seed=seed)
    scene(run)  # type: ignore[operator]
    assert run.fired == []


def test_a_profile_that_an_adaptive_optimizer_evens_out_is_a_warning_only() -> None:
    run = Run()
    for i in range(60):
        run.step(2.3 * 0.9**i, gradients=1e-2 * 3.0 ** np.arange(DEPTH)[::-1])
    assert run.fired == [RULE]
    assert run.alert(RULE).severity is Severity.WARNING


def test_the_signal_may_grow_where_the_gradients_of_the_weights_stay_level() -> None:
    run = Run()
    for _ in range(8):
        run.step(2.3, signals=1e-3 * 3.0 ** np.arange(DEPTH)[::-1])
    assert run.alert(RULE).where[0] == "fc0.weight"
    assert "gradients of outputs grow 3 times per layer" in run.alert(RULE).summary


def test_neither_loss_nor_updates_seen_needs_what_can_be_nothing_else() -> None:
    run = Run(perceptron(0))
    for i in range(60):
        run.step(None, grad_norm=float(run.noisy(2e4 if i >= 40 else 1.0)))
    assert run.firing == {RULE}


@settings(max_examples=8, deadline=None)
@given(scale=st.floats(1e-4, 1e2), seed=st.integers(0, 2**16))
def test_the_scale_of_all_gradients_changes_nothing_over_time(scale: float, seed: int) -> None:
    answers = []
    for factor in (1.0, scale):
        run = Run(seed=seed)
        for i in range(50):
            rise = 50.0 if i >= 40 else 1.0
            # Weights large enough that no gradient outgrows them: this is about time only.
            run.step(
                2.0 + 0.1 * max(0, i - 39),
                gradients=run.noisy(np.full(DEPTH, 1e-2)) * rise * factor,
                weights=1e6,
            )
        answers.append(run.fired)
    assert answers[0] == answers[1] == [RULE]


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**16), by=st.floats(0.0, 1.0), start=st.floats(1e-6, 1e6))
def test_healthy_noise_never_fires(seed: int, by: float, start: float) -> None:
    run = Run(seed=seed)
    for _ in range(60):
        run.healthy(1, start=start, gradients=run.noisy(np.full(DEPTH, 1e-2), by))
    assert run.fired == []
