"""Loops that use nothing of torch.optim: steps found from backward and from the parameters that moved."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from looping import Run, close, tensors

Observed = Callable[[str], Run]

#: Sums of squares of some thousand fp32 numbers, added in short stretches of fp32.
NORM = 1e-4

PROGRAMS = ["handwritten.py", "autograd_grad.py", "raw_tensors.py"]


@pytest.mark.parametrize("program", PROGRAMS)
def test_steps_without_an_optimizer_are_found(observed: Observed, program: str) -> None:
    run = observed(program)
    assert run.said == run.bare
    assert len(run.samples) == 20
    for sample, truth in run.pairs():
        assert sample["loss"] == truth["loss"]
        assert close(sample["grad_norm"], truth["grad_norm"], NORM)
        assert close(sample["grad_norm_preclip"], truth["grad_norm"], NORM)
        assert sample["lr"] == [None]
    steps = [sample["step"] for sample in run.samples]
    assert steps == list(range(steps[0], steps[0] + 20))


def test_what_a_hand_written_optimizer_applied_and_how_far_it_moved(observed: Observed) -> None:
    run = observed("handwritten.py")
    assert run.hello["layers"] == ["0", "1", "2", "3"]
    assert run.hello["optimizers"] == ["HandwrittenOptimizer"]
    for sample, truth in run.pairs():
        assert set(tensors(sample, "gradient")) == {"0.weight", "0.bias", "3.weight", "3.bias"}
        # The sample of 1024 numbers is the whole weight: 512 numbers, rounded to fp32 where they are summed.
        assert close(tensors(sample, "weight")["0.weight"]["update_ratio"], truth["moved"], 1e-4)
        assert {t["n"] for t in tensors(sample, "activation").values()} == {8 * 32, 8 * 4}


def test_a_derivative_by_the_input_is_no_training(observed: Observed) -> None:
    run = observed("autograd_grad.py")
    layers = ["0", "1", "2", "3", "4"]
    for sample in run.samples:
        assert sample["microbatches"] == 1
        # 32 points and the one at the start; gradients arrive once, in the backward of the loss.
        for kind in ("activation", "output_gradient"):
            assert {n: t["n"] for n, t in tensors(sample, kind).items()} == {
                name: 33 * (1 if name == "4" else 32) for name in layers
            }
        assert len(tensors(sample, "gradient")) == 6


def test_tensors_that_no_module_owns_have_the_names_of_the_scripts_variables(observed: Observed) -> None:
    run = observed("raw_tensors.py")
    assert "the script's variables" in run.hello["probes"]["names"]
    # The first window begins with a backward, behind the loss.
    for sample, truth in run.pairs(skip=1):
        # Without a module the next step shows when its loss is computed, and is no part of this one.
        (criterion,) = sample["criteria"]
        assert (criterion["name"], criterion["calls"], criterion["n"]) == ("cross_entropy", 1, 32)
        assert criterion["value"] == truth["loss"]
    sizes = {"C": 27 * 8, "W1": 24 * 64, "b1": 64, "W2": 64 * 27, "b2": 27}
    for sample in run.samples:
        assert {name: t["n"] for name, t in tensors(sample, "gradient").items()} == sizes
        assert list(tensors(sample, "gradient")) == list(sizes)
        assert all(0 < t["update_ratio"] < 1 for t in tensors(sample, "weight").values() if t["norm"])
