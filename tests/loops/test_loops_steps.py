"""What a step is made of: microbatches, gradients before and after clipping, forwards that run twice."""

from __future__ import annotations

from collections.abc import Callable

from looping import Run, close, tensors

Observed = Callable[[str], Run]

#: Sums of squares of some thousand fp32 numbers, added in short stretches of fp32.
NORM = 1e-4


def test_accumulated_microbatches_are_one_step_with_their_mean_loss(observed: Observed) -> None:
    run = observed("accumulating.py")
    assert run.said == run.bare
    for sample, truth in run.pairs():
        # Each was rounded to fp32 once more by its division by 3.
        assert close(sample["loss"], truth["loss"], 2.0**-22)
        assert sample["microbatches"] == 3
        assert {t["n"] for t in tensors(sample, "activation").values()} == {3 * 8 * 64, 3 * 8 * 10}
        assert close(sample["grad_norm"], truth["grad_norm"], NORM)


def test_clipping_shows_both_norms_and_how_often_it_shortens(observed: Observed) -> None:
    run = observed("accumulating.py")
    pairs = [(s, t) for s, t in run.pairs() if s["grad_norm_preclip"] is not None]
    assert len(pairs) >= len(run.samples) - 1
    assert all(close(s["grad_norm_preclip"], t["preclip"], NORM) for s, t in pairs)
    clipped = [t["preclip"] > 1.001 * t["grad_norm"] for _, t in pairs]
    assert 0 < sum(clipped) < len(clipped)
    assert run.samples[-1]["clip_ratio"] == sum(clipped) / len(clipped)


def test_without_clipping_the_two_norms_are_one(observed: Observed) -> None:
    run = observed("eager.py")
    assert all(sample["grad_norm"] == sample["grad_norm_preclip"] for sample in run.samples)
    assert run.samples[-1]["clip_ratio"] == 0.0


def test_checkpointing_counts_nothing_twice(observed: Observed) -> None:
    run = observed("checkpointing.py")
    assert run.said == run.bare
    # Two microbatches of 12; the block that is called twice in each has twice the elements.
    calls = {"plain": 2, "reentrant": 4, "other": 2}
    units = {"up": 32, "act": 32, "drop": 32, "down": 16}
    expected = {f"{block}.{m}": 12 * c * u for block, c in calls.items() for m, u in units.items()}
    expected |= {"embed": 2 * 12 * 16, "head": 2 * 12 * 10}
    for sample, truth in run.pairs():
        assert close(sample["loss"], truth["loss"], 2.0**-22)
        assert close(sample["grad_norm"], truth["grad_norm"], NORM)
        assert {name: t["n"] for name, t in tensors(sample, "activation").items()} == expected
        assert {name: t["n"] for name, t in tensors(sample, "output_gradient").items()} == expected
    assert run.hello["layers"] == [
        "embed",
        *(f"{block}.{m}" for block in ("plain", "reentrant", "other") for m in units),
        "head",
    ]
