"""NaN and infinities: the first tensor in causal order, and what is by design."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from tests.rules.synthetic_runs import Run, perceptron
from tuimon.records.alert import AlertState, Severity
from tuimon.records.layout import TensorKind

INPUT, ACT = TensorKind.INPUT, TensorKind.ACTIVATION
OUT, GRAD, WEIGHT = TensorKind.OUTPUT_GRADIENT, TensorKind.GRADIENT, TensorKind.WEIGHT


def everything_from(run: Run, *keys: tuple[TensorKind, str]) -> list[tuple[TensorKind, str]]:
    """The given tensors, and all gradients and weights, which NaN reaches in the same step."""
    return [*keys, *((t.kind, t.name) for t in run.layout.tensors if t.kind in (GRAD, WEIGHT, OUT))]


@pytest.mark.parametrize(
    ("bad", "loss", "first"),
    [
        ([(INPUT, "input"), (ACT, "fc0"), (ACT, "fc3")], math.nan, "input"),
        ([(ACT, "act3"), (ACT, "fc2"), (ACT, "fc4")], math.nan, "fc2"),
        ([], math.nan, "loss"),
        ([], 1.0, "act5"),
    ],
)
def test_names_the_first_tensor_in_causal_order(
    bad: list[tuple[TensorKind, str]], loss: float, first: str
) -> None:
    run = Run()
    run.healthy(10)
    news = run.step(loss, bad=everything_from(run, *bad))
    assert [(alert.rule, alert.where[0]) for alert in news] == [("nonfinite", first)]
    assert news[0].severity is Severity.CRITICAL
    assert news[0].since_step == news[0].step == 11


def test_backward_meets_the_last_layer_first() -> None:
    run = Run()
    run.healthy(5)
    run.step(1.0, bad=[(GRAD, f"fc{i}.weight") for i in (0, 1, 2)])
    assert run.alert("nonfinite").where[:3] == ("fc2.weight", "fc1.weight", "fc0.weight")


def test_a_nonfinite_loss_alone_fires() -> None:
    run = Run()
    run.healthy(3)
    run.step(math.inf)
    assert run.alert("nonfinite").where == ("loss",)


def test_what_reaches_nothing_is_an_alarm_only_where_nothing_else_is_seen() -> None:
    run = Run(perceptron(3))
    run.step(None, grad_norm=None, bad=[(ACT, "fc1")])
    assert run.firing == set()
    base = perceptron(3)
    forward_only = replace(base, tensors=tuple(t for t in base.tensors if t.kind in (INPUT, ACT)))
    blind = Run(forward_only)
    blind.step(None, grad_norm=None, bad=[(ACT, "fc1"), (ACT, "act1")])
    assert blind.alert("nonfinite").where == ("fc1", "act1")


def test_tells_the_last_finite_extremes_and_the_headroom() -> None:
    run = Run(perceptron(4, dtype="float16"))
    key = (ACT, "fc1")
    run.healthy(4, extremes={key: (-100.0, 6550.4)})
    run.step(math.nan, bad=everything_from(run, key))
    numbers = run.alert("nonfinite").evidence["numbers"]
    assert isinstance(numbers, dict)
    assert (numbers["last_finite_step"], numbers["last_min"], numbers["last_max"]) == (4, -100.0, 6550.4)
    assert numbers["headroom"] == pytest.approx(10.0)
    hypotheses = run.alert("nonfinite").evidence["hypotheses"]
    assert isinstance(hypotheses, list)
    assert "overflow" in hypotheses[0]["cause"]


def test_the_first_culprit_stays_when_its_first_step_leaves_the_window() -> None:
    run = Run(perceptron(3))
    run.healthy(3)
    run.step(math.nan, bad=[(GRAD, "fc1.weight")])
    for _ in range(400):
        run.step(math.nan, bad=everything_from(run, (ACT, "fc0"), (INPUT, "input")))
    assert run.fired == ["nonfinite"]
    assert run.alert("nonfinite").since_step == 4
    assert run.alert("nonfinite").where[0] == "loss"


def test_a_step_that_the_scaler_skips_is_no_alarm_but_skipping_for_ever_is() -> None:
    run = Run()
    run.healthy(5, loss_scale=65536.0, skipped=False)
    for _ in range(5):
        run.step(1.0, bad=[(GRAD, "fc0.weight")], grad_norm=math.inf, loss_scale=32768.0, skipped=True)
    assert run.fired == []
    run.healthy(20, loss_scale=32768.0, skipped=False)
    assert run.fired == []
    for _ in range(16):
        run.step(1.0, bad=[(GRAD, "fc0.weight")], grad_norm=math.inf, loss_scale=1.0, skipped=True)
    assert run.fired == ["nonfinite"]


def test_infinities_that_reach_no_gradient_are_by_design() -> None:
    mask = (ACT, "fc0")
    run = Run()
    run.healthy(50, bad=[mask, (INPUT, "input")])
    assert run.fired == []
    # And they are not taken for the cause of what comes later.
    run.step(math.nan, bad=everything_from(run, mask, (INPUT, "input"), (ACT, "act4")))
    assert run.alert("nonfinite").where[0] == "act4"


def test_the_others_abstain_after_it_and_it_resolves() -> None:
    run = Run()
    run.healthy(5)
    run.step(math.nan, bad=everything_from(run))
    judgements = run.session.judgements
    assert judgements["nonfinite"].status == "firing"
    for rule in ("vanishing_gradient", "exploding_gradient", "dead_neurons"):
        assert str(judgements[rule]).startswith("not judged: its numbers mean nothing after nonfinite")
    run.healthy(3)
    assert run.news[-1].state is AlertState.RESOLVED
    assert run.firing == set()
