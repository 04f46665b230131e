"""Half precision: what a gradient scaler does is undone, the steps that it leaves out are told."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from looping import Run, close, tensors

Observed = Callable[[str], Run]

#: Sums of squares over 2762 gradients, added in short stretches of fp32; and the fp32 scale taken out.
NORM = 1e-4
#: What arrives at the last layer's output was rounded to fp16 (11 bits) once for each element.
ARRIVED = 2.0**-11


@pytest.mark.parametrize("program", ["amp.py", "amp_fused.py"])
def test_under_a_gradient_scaler_everything_is_unscaled_and_skipped_steps_are_seen(
    observed: Observed, program: str
) -> None:
    run = observed(program)
    assert run.said == run.bare
    skipped = 0
    for sample, truth in run.pairs():
        assert sample["skipped"] is truth["skipped"]
        assert sample["loss_scale"] == truth["scale"]
        if truth["skipped"]:
            # Said, and no alarm: what overflowed was thrown away.
            skipped += 1
            assert sample["grad_norm"] is None
            assert not tensors(sample, "gradient")
        else:
            assert sample["step"] == truth["updates"]
            assert close(sample["grad_norm"], truth["grad_norm"], NORM)
            arrived = tensors(sample, "output_gradient")["2"]
            assert close(arrived["norm"], truth["arrived"], ARRIVED)
            gradients = tensors(sample, "gradient").values()
            assert close(sum(g["norm"] ** 2 for g in gradients) ** 0.5, truth["grad_norm"], NORM)
    assert skipped > 0
    assert not [alert for alert in run.recording.events("alert") if alert["rule"] == "nonfinite"]


def test_clipping_under_a_scaler_shows_both_norms(observed: Observed) -> None:
    run = observed("amp.py")
    shown = [(s["grad_norm_preclip"], t["preclip"]) for s, t in run.pairs() if not t["skipped"]]
    told = [pair for pair in shown if pair[0] is not None]
    # One at most: the step in which clipping shows for the first time.
    assert len(told) >= len(shown) - 1
    assert all(close(*pair, NORM) for pair in told)
    assert {s["microbatches"] for s in run.samples} == {2}


def test_bf16_autocast_shows_layers_in_bf16_and_weights_in_fp32(observed: Observed) -> None:
    run = observed("autocast.py")
    assert run.said == run.bare
    assert run.hello["dtype"] == "float32"
    for sample, truth in run.pairs():
        assert sample["loss"] == truth["loss"]
        assert close(sample["grad_norm"], truth["grad_norm"], NORM)
        # 16 x 64 numbers in bf16: read as they are, so the same norm.
        first = tensors(sample, "activation")["first"]
        assert close(first["norm"], truth["first"], NORM)
