"""Models of every structure: what is called twice, shared, frozen, overwritten, packed, sparse, or new."""

from __future__ import annotations

from collections.abc import Callable

from looping import Run, close, tensors

Observed = Callable[[str], Run]

#: Sums of squares of some thousand fp32 numbers, added in short stretches of fp32.
NORM = 1e-4


def test_overwritten_outputs_and_a_block_that_is_called_three_times(observed: Observed) -> None:
    run = observed("residual.py")
    assert run.said == run.bare
    for sample, truth in run.pairs():
        assert sample["loss"] == truth["loss"]
        assert close(sample["grad_norm"], truth["grad_norm"], NORM)
    # In the first step it shows which outputs are overwritten; they are read at once from then on.
    for sample, truth in run.pairs(skip=1):
        activations, arriving = tensors(sample, "activation"), tensors(sample, "output_gradient")
        pixels = 12 * 8 * 8 * 8
        assert {n: t["n"] for n, t in activations.items()} == {
            "block.conv": 3 * pixels, "block.norm": 3 * pixels, "block.act": 3 * pixels, "head": 12 * 10,
        }  # fmt: skip
        # What the layers put out, not what the sum in place made of it.
        assert close(activations["block.conv"]["norm"], truth["norms"]["conv"], NORM)
        assert close(activations["block.norm"]["norm"], truth["norms"]["norm"], NORM)
        assert {n: t["n"] for n, t in arriving.items()} == {n: t["n"] for n, t in activations.items()}


def test_a_frozen_backbone_has_weights_and_no_gradients(observed: Observed) -> None:
    run = observed("residual.py")
    assert set(run.hello["layers"]) >= {"backbone.0", "backbone.1"}
    for sample in run.samples:
        frozen = {"backbone.0.weight", "backbone.0.bias"}
        assert not frozen & set(tensors(sample, "gradient"))
        weights = tensors(sample, "weight")
        assert all(weights[name]["update_ratio"] is None for name in frozen & set(weights))


def test_packed_sequences_and_tied_weights(observed: Observed) -> None:
    run = observed("language.py")
    assert run.said == run.bare
    matrices = [f"{kind}_{what}" for kind in ("weight", "bias") for what in ("ih", "hh")]
    recurrent = {f"lstm.{matrix}_l{layer}" for matrix in matrices for layer in (0, 1)}
    recurrent |= {f"gru.{matrix}_l0{way}" for matrix in matrices for way in ("", "_reverse")}
    for sample, truth in run.pairs():
        assert sample["loss"] == truth["loss"]
        assert close(sample["grad_norm"], truth["grad_norm"], NORM)
        # The tied matrix is there once, under its first name.
        assert set(tensors(sample, "gradient")) == {"embed.weight", *recurrent, "down.weight", "down.bias"}
        # Of a packed sequence the words, without what pads them.
        expected = {
            "embed": truth["padded"] * 16, "lstm": truth["words"] * 16, "gru": truth["words"] * 32,
            "down": truth["padded"] * 16, "head": truth["padded"] * 40,
        }  # fmt: skip
        for kind in ("activation", "output_gradient"):
            assert {n: t["n"] for n, t in tensors(sample, kind).items()} == expected


def test_sparse_gradients_are_the_rows_that_the_batch_named(observed: Observed) -> None:
    run = observed("recommender.py")
    assert run.said == run.bare
    for sample, truth in run.pairs():
        assert sample["loss"] == truth["loss"]
        assert sample["lr"] == [1e-2, 1e-3]
        assert close(sample["grad_norm"], truth["grad_norm"], NORM)
        gradients = tensors(sample, "gradient")
        assert [gradients[f"{t}.weight"]["n"] for t in ("users", "bags")] == [8 * n for n in truth["rows"]]
        weights = tensors(sample, "weight")
        assert all(0 < weights[f"{t}.weight"]["update_ratio"] < 1 for t in ("users", "bags"))


def test_layers_and_groups_that_are_added_later(observed: Observed) -> None:
    run = observed("growing.py")
    assert run.said == run.bare
    for sample, truth in run.pairs():
        grown = {f"grown.{i}.weight" for i in range(truth["grown"])}
        assert len(sample["lr"]) == 1 + truth["grown"]
        assert grown <= set(tensors(sample, "gradient"))
        assert close(sample["grad_norm"], truth["grad_norm"], NORM)
    grown_to = [truth["grown"] for _, truth in run.pairs()]
    assert grown_to[0] < grown_to[-1]
    assert f"grown.{grown_to[-1] - 1}" in run.hello["layers"]
