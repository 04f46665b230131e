"""Dead units: silent for every sample of many batches; sparse outputs are healthy."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.rules.synthetic_runs import BATCH, UNITS, Run, perceptron
from tuimon.records.alert import AlertState, Severity

RULE = "dead_neurons"


def test_names_layer_share_units_and_the_step_it_began() -> None:
    run = Run()
    run.healthy(100)
    # Silent since step 101; what is counted over 128 batches shows them when the window has passed.
    run.healthy(127)
    run.healthy(6, dead={"act3": 0.625, "fc3": 0.625})
    alert = run.alert(RULE)
    assert alert.where == ("act3",)
    assert "40 of 64 units (62 %) of act3 silent for 128 observed batches" in alert.summary
    assert alert.since_step == 101 + 0
    assert alert.severity is Severity.WARNING
    assert run.fired == [RULE]


def test_a_functional_relu_is_named_by_the_layer_before_it() -> None:
    run = Run()
    run.healthy(20, dead={"fc2": 0.9})
    assert run.alert(RULE).where == ("fc2",)


def test_layers_together_make_one_alert_and_the_first_to_fall_silent_leads() -> None:
    run = Run()
    run.healthy(150)
    run.healthy(50, dead={"act4": 1.0})
    run.healthy(50, dead={"act4": 1.0, "act1": 0.8, "fc1": 0.8})
    assert run.fired == [RULE]
    assert run.alert(RULE).where == ("act4", "act1")
    assert run.alert(RULE).severity is Severity.CRITICAL


def test_a_layer_that_loses_a_third_of_its_units_is_told_and_one_born_with_it_is_not() -> None:
    born, lost = Run(), Run()
    born.healthy(60, dead={"act1": 0.35})
    assert born.fired == []
    lost.healthy(60, dead={"act1": 0.05})
    lost.healthy(20, dead={"act1": 0.35})
    assert lost.fired == [RULE]


def test_clears_only_well_below_where_it_fired() -> None:
    run = Run()
    run.healthy(20, dead={"act1": 0.6})
    run.healthy(20, dead={"act1": 0.4})
    assert run.firing == {RULE}
    run.healthy(20, dead={"act1": 0.1})
    assert run.firing == set()
    assert run.news[-1].state is AlertState.RESOLVED


def test_abstains_below_eight_batches() -> None:
    run = Run()
    run.healthy(7, dead={"act1": 1.0})
    assert str(run.session.judgements[RULE]) == "not judged: only 7 observed batches of 8"
    run.healthy(5, dead={"act1": 1.0})
    assert run.firing == {RULE}


def test_abstains_on_batches_too_small_to_tell() -> None:
    run = Run()
    run.healthy(60, dead={"act1": 0.7}, elements=UNITS)  # one output a unit and batch
    assert run.fired == []
    assert "fewer than 128 outputs of each unit" in str(run.session.judgements[RULE])


def test_an_expert_that_is_rarely_used_is_left_out() -> None:
    run = Run()
    # It saw one row every batch: too few to call its units dead; a layer beside it saw full batches.
    run.healthy(60, dead={"act1": 0.7}, elements=2 * UNITS)
    assert run.fired == []


def test_abstains_without_relu_like_layers() -> None:
    run = Run(perceptron(4, rectified=False))
    run.healthy(20)
    assert str(run.session.judgements[RULE]).startswith("not judged: dead_ratio not measured yet")


def test_says_why_when_activations_cannot_be_seen() -> None:
    from tests.rules.synthetic_runs import HELLO

    run = Run(perceptron(4, rectified=False), replace(HELLO, probes={"activations": "a compiled module"}))
    run.healthy(3)
    assert str(run.session.judgements[RULE]) == "not judged: dead_ratio not seen: a compiled module"


def test_few_units_count_only_when_all_are_silent() -> None:
    base = perceptron(4)
    narrow = replace(base, layers=tuple(replace(layer, channels=4) for layer in base.layers))
    half, whole = Run(narrow), Run(narrow)
    half.healthy(30, dead={"act1": 0.75}, elements=4 * BATCH)
    whole.healthy(30, dead={"act1": 1.0}, elements=4 * BATCH)
    assert (half.fired, whole.fired) == ([], [RULE])


@settings(max_examples=8, deadline=None)
@given(zero=st.floats(0.0, 1.0), shares=st.lists(st.floats(0.0, 0.24), min_size=6, max_size=6))
def test_a_few_dead_units_however_sparse_the_rest_never_fire(zero: float, shares: list[float]) -> None:
    run = Run()
    for share in (0.0, 1.0):
        run.healthy(20, dead={f"act{i}": share * dead for i, dead in enumerate(shares)})
    assert run.fired == []


@pytest.mark.parametrize("every", [1, 12])
def test_fires_within_a_few_samples_whatever_the_cadence(every: int) -> None:
    run = Run(every=every)
    run.healthy(11, dead={"act0": 1.0})
    assert run.fired == [RULE]
    assert run.alert(RULE).since_step == every
