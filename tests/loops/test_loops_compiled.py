"""Compiled before the attach: nothing is compiled again, and what cannot be seen is said."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from looping import Run, close, tensors

Observed = Callable[..., Run]


@pytest.mark.parametrize("program", ["compiled.py", "compiled_in_place.py"])
def test_a_compiled_model_shows_its_parameters_and_is_not_compiled_again(
    observed: Observed, program: str
) -> None:
    # Its own compiler warns of deprecated parts.
    run = observed(program, warnings="ignore")
    # The counters of what was compiled are among what it says.
    assert run.said[-2]["graphs"] > 0
    assert run.said == run.bare
    probes = run.hello["probes"]
    for probe in ("activations", "output_gradients"):
        assert probes[probe] == "the layers run inside compiled code"
    assert {probes[probe] for probe in ("loss", "gradients", "clip", "updates")} == {"on"}
    assert len(run.samples) == 20
    for sample, truth in run.pairs():
        assert sample["loss"] == truth["loss"]
        assert close(sample["grad_norm"], truth["grad_norm"], 1e-4)
        assert len(tensors(sample, "gradient")) == 4
        assert all(weight["update_ratio"] is not None for weight in tensors(sample, "weight").values())
        assert not tensors(sample, "activation")
    assert all("_orig_mod" not in name for name in tensors(run.samples[-1], "weight"))
