"""Models that are called in other ways: from a cell in a thread, by `forward`, inside of compiled code."""

from __future__ import annotations

from collections.abc import Callable

from looping import Run, close, tensors

Observed = Callable[[str], Run]

NORM = 1e-4


def test_cells_of_a_notebook_with_a_closure(observed: Observed) -> None:
    run = observed("notebook.py")
    assert run.said == run.bare
    assert len(run.samples) == 20
    for sample, truth in run.pairs():
        # The loss is the first that the closure returned; the gradients are those that it left.
        assert sample["loss"] == truth["loss"]
        assert sample["microbatches"] == truth["evaluations"] > 1
        assert close(sample["grad_norm"], truth["grad_norm"], NORM)
        assert sample["lr"] == [1.0]
        assert tensors(sample, "activation")["hidden"]["n"] == 64 * 24 * truth["evaluations"]


def test_a_model_whose_forward_is_called_by_name(observed: Observed) -> None:
    run = observed("forward_called.py")
    assert run.said == run.bare
    for sample, truth in run.pairs():
        assert sample["loss"] == truth["loss"]
        assert close(sample["grad_norm"], truth["grad_norm"], NORM)
        # Neither the model nor its encoder is called as a module, but what they call is.
        layers = [*(f"encoder.layers.{i}" for i in range(3)), "head"]
        assert list(tensors(sample, "activation")) == layers
        assert set(tensors(sample, "gradient")) == {f"{n}.{p}" for n in layers for p in ("weight", "bias")}


def test_a_compiled_function_around_the_model(observed: Observed) -> None:
    run = observed("compiled_function.py")
    assert run.said == run.bare
    probes = run.hello["probes"]
    assert "compiled code" in probes["activations"]
    assert probes["activations"] == probes["output_gradients"]
    assert {probes[probe] for probe in ("loss", "gradients", "clip", "updates")} == {"on"}
    for sample, truth in run.pairs():
        assert sample["loss"] == truth["loss"]
        assert close(sample["grad_norm"], truth["grad_norm"], NORM)
        assert set(tensors(sample, "gradient")) == {"0.weight", "0.bias", "2.weight", "2.bias"}
        assert all(weight["update_ratio"] is not None for weight in tensors(sample, "weight").values())
        assert not tensors(sample, "activation")
