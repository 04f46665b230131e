"""Several optimizers: one for each parameter, within backward; and two that take turns."""

from __future__ import annotations

from collections.abc import Callable

from looping import Run, close, tensors

Observed = Callable[[str], Run]

#: Sums of squares of some thousand fp32 numbers, added in short stretches of fp32.
NORM = 1e-4


def test_an_optimizer_in_backward_shows_the_gradients_that_it_frees(observed: Observed) -> None:
    run = observed("in_backward.py")
    assert run.said == run.bare
    for sample, truth in run.pairs():
        assert sample["loss"] == truth["loss"]
        assert sample["losses"] == {}
        assert sample["microbatches"] == 1
        assert close(sample["grad_norm"], truth["grad_norm"], NORM)
        assert len(tensors(sample, "gradient")) == len(tensors(sample, "weight")) == 4
        assert all(weight["update_ratio"] is not None for weight in tensors(sample, "weight").values())
        assert len(tensors(sample, "output_gradient")) == 3


def test_optimizers_that_take_turns_make_one_step(observed: Observed) -> None:
    run = observed("gan.py")
    assert run.said == run.bare
    assert sorted(run.hello["optimizers"]) == ["Adam", "RMSprop"]
    assert {name.split(".")[0] for name in run.hello["layers"]} == {"Sequential", "Sequential-2"}
    # Until each has stepped once it is not known who takes turns; then a round may have begun before.
    for sample, truth in run.pairs(skip=3):
        assert {name.split(".")[0]: loss for name, loss in sample["losses"].items()} == truth["losses"]
        assert sample["microbatches"] == 3
        assert len(sample["lr"]) == 2
        assert len(tensors(sample, "gradient")) == 8


def test_gradients_that_the_steps_themselves_free_are_seen(observed: Observed) -> None:
    run = observed("frees_gradients.py")
    assert run.said == run.bare
    for i, (sample, truth) in enumerate(run.pairs()):
        assert sample["losses"] == {}
        assert len(sample["lr"]) == 2
        assert close(sample["grad_norm"], truth["grad_norm"], NORM)
        # Not in the step in which clipping shows for the first time.
        if i or sample["grad_norm_preclip"] is not None:
            assert close(sample["grad_norm_preclip"], truth["preclip"], NORM)
        assert list(tensors(sample, "gradient")) == ["0.weight", "0.bias", "2.weight"]
        moved = {name: w["update_ratio"] for name, w in tensors(sample, "weight").items()}
        assert moved.pop("2.bias") == 0.0
        assert all(ratio > 0 for ratio in moved.values())
