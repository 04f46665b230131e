"""Compiled before the attach: nothing is compiled again, and what cannot be seen is said."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from looping import Bare, Loop, Run, close, tensors

Observed = Callable[[str], Run]


@pytest.mark.parametrize("program", ["compiled.py", "compiled_in_place.py"])
def test_a_compiled_model_shows_its_parameters_and_is_not_compiled_again(
    observed: Observed, program: str
) -> None:
    # Its own compiler warns of deprecated parts.
    run = observed(program)
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


BLOCK = ("up", "act", "down")
COMPILED = {f"blocks.{i}.{name}" for i in (0, 1) for name in BLOCK}
SEEN = ["embed", *(f"blocks.2.{name}" for name in BLOCK), "head"]


def test_of_blocks_that_are_compiled_one_by_one_the_others_are_seen(observed: Observed) -> None:
    run = observed("compiled_blocks.py")
    assert run.said == run.bare
    assert run.hello["probes"]["activations"] == "6 of 11 layers run inside compiled code"
    assert run.hello["hidden_layers"] == dict.fromkeys(COMPILED, "it runs inside compiled code")
    assert set(run.hello["layers"]) == COMPILED | set(SEEN)
    for sample, truth in run.pairs():
        assert sample["loss"] == truth["loss"]
        assert close(sample["grad_norm"], truth["grad_norm"], 1e-4)
        assert list(tensors(sample, "activation")) == SEEN
        assert len(tensors(sample, "gradient")) == 2 * (2 + 3 * 2)


def test_an_eager_step_shows_the_layers_of_compiled_code_where_that_is_asked_for(
    begin: Callable[..., Loop], bare: Bare
) -> None:
    loop = begin("compiled_blocks.py", warnings="ignore")
    loop.until_step(10)
    recording = loop.record("--activations", "eager-step", steps=10)
    loop.until_step(loop.said[-1]["step"] + 5)
    loop.stop()
    assert "not bit-neutral" in recording.hello["probes"]["eager_step"]
    assert recording.hello["probes"]["activations"] == "on"
    assert recording.hello["hidden_layers"] == {}
    truths = {line["step"]: line for line in loop.said if "step" in line}
    for sample in recording.samples[1:]:
        assert sample["loss"] == truths[sample["step"]]["loss"]
        assert set(tensors(sample, "activation")) == COMPILED | set(SEEN)
    # Nothing is compiled again, neither for the uncompiled steps nor after them.
    (alone,) = bare.run("compiled_blocks.py", loop.said[-2]["step"])
    assert [line.get("graphs") for line in loop.said] == [line.get("graphs") for line in alone]
