"""Frameworks that hold the loop themselves, beside what they log."""

from __future__ import annotations

from collections.abc import Callable

from looping import Run, close, tensors

Observed = Callable[[str], Run]

#: Sums of squares of some thousand fp32 numbers, added in short stretches of fp32; theirs in fp32 altogether.
NORM = 1e-4
#: What a norm is at most after clipping to 0.5.
CLIPPED = 0.5


def test_what_the_trainer_of_hugging_face_logs(observed: Observed) -> None:
    run = observed("hf_trainer.py")
    assert run.said == run.bare
    assert len(run.samples) == 20
    for sample, logged in run.pairs():
        # Its number of steps is the optimizer's.
        assert sample["step"] == logged["step"]
        assert close(sample["loss"], logged["loss"], 2.0**-20)
        assert (sample["microbatches"], sample["loss_divisor"]) == (2, 2)
        assert sample["lr"] == [logged["learning_rate"]] * 2
        # It logs the norm before clipping.
        assert close(sample["grad_norm_preclip"], logged["grad_norm"], NORM)
        assert close(sample["grad_norm"], min(CLIPPED, logged["grad_norm"]), NORM)
    names = tensors(run.samples[-1], "gradient")
    assert len(names) == 28
    assert "transformer.h.1.mlp.c_proj.weight" in names
    # Tied to the embedding, so not there a second time.
    assert "lm_head.weight" not in names
    assert {"transformer.h.0.attn.c_attn", "lm_head"} <= set(tensors(run.samples[-1], "activation"))


def test_automatic_optimisation_of_lightning(observed: Observed) -> None:
    run = observed("lightning_fit.py")
    assert run.said == run.bare
    assert len(run.samples) == 20
    for sample, truth in run.pairs():
        assert sample["step"] == truth["step"]
        assert sample["loss"] == truth["loss"]
        assert (sample["microbatches"], sample["loss_divisor"]) == (2, 2)
        assert sample["lr"] == [truth["lr"]]
        assert close(sample["grad_norm"], truth["grad_norm"], NORM)
        # In the first step it shows that gradients are clipped.
        preclip = sample["grad_norm_preclip"]
        assert preclip is None or close(preclip, truth["preclip"], NORM)
        # The closure's forward, once a microbatch of 8.
        assert {n: t["n"] for n, t in tensors(sample, "activation").items()} == {
            "net.0": 2 * 8 * 32, "net.1": 2 * 8 * 32, "net.2": 2 * 8 * 32, "net.3": 2 * 8 * 4,
        }  # fmt: skip
        parameters = {f"net.{i}.{name}" for i in (0, 3) for name in ("weight", "bias")}
        assert set(tensors(sample, "gradient")) == parameters
    assert sum(sample["grad_norm_preclip"] is None for sample in run.samples) <= 1
