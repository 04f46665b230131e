"""The base case: a loop that has never heard of tuimon, entered in mid-run."""

from __future__ import annotations

from collections.abc import Callable

from looping import Run, close, tensors

Observed = Callable[[str], Run]


def test_an_entered_loop_computes_what_it_computes_alone(observed: Observed) -> None:
    run = observed("eager.py")
    assert run.said == run.bare


def test_an_eager_loop_shows_everything(observed: Observed) -> None:
    run = observed("eager.py")
    assert len(run.samples) == 20
    assert set(run.hello["probes"].values()) == {"on"}
    assert run.hello["layers"] == ["stem.0", "stem.1", "stem.2", "drop", "head"]
    for sample, truth in run.pairs():
        assert sample["loss"] == truth["loss"]
        # Sums of squares of 2622 fp32 numbers, added in short stretches of fp32.
        assert close(sample["grad_norm"], truth["grad_norm"], rel=1e-4)
        assert list(tensors(sample, "activation")) == run.hello["layers"]
        assert len(tensors(sample, "gradient")) == 6
