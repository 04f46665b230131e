"""The engine's own promises, on rules made for the purpose."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.rules.synthetic_runs import Run
from tuimon.records.alert import Alert, AlertState, Severity
from tuimon.rules.catalogue import ALL_RULES, explain, rule_named
from tuimon.rules.rule import Abstain, Explanation, Finding, Findings, Firing, Rule, Stage, Verdict
from tuimon.rules.view import View

Script = dict[int, tuple[str, ...] | str]


def rule(name: str, script: Script, **fields: object) -> Rule:
    """A rule that finds, at step i, the culprits `script[i]`, or abstains for the reason given there."""

    def judge(view: View, firing: Firing) -> Verdict:
        said = script.get(view.sample.step, ())
        if isinstance(said, str):
            return Abstain(said)
        return Findings((Finding(said, f"{name} at {said[0]}", {}, "do"),) if said else ())

    base = Rule(
        id=name, stage=Stage.BACKWARD, needs=(), severity=Severity.WARNING, patience=3, clear_patience=2,
        judge=judge, explain=Explanation("", "", (), ()),
    )  # fmt: skip
    return replace(base, **fields)  # type: ignore[arg-type]


def during(first: int, last: int, *where: str) -> Script:
    return dict.fromkeys(range(first, last + 1), where)


def play(steps: int, *rules: Rule) -> Run:
    run = Run(rules=rules)
    for _ in range(steps):
        run.step(1.0)
    return run


def told(run: Run) -> list[tuple[str, str, int, int]]:
    return [(alert.rule, alert.state.value, alert.since_step, alert.step) for alert in run.news]


def test_fires_with_patience_began_at_its_first_finding_and_resolves_with_patience() -> None:
    run = play(10, rule("a", during(2, 6, "x")))
    assert told(run) == [("a", "firing", 2, 4), ("a", "resolved", 2, 8)]
    assert [alert.state for alert in run.session.past_alerts] == [AlertState.RESOLVED]


def test_a_finding_that_comes_and_goes_is_no_alert() -> None:
    assert told(play(12, rule("a", {i: ("x",) for i in range(1, 13) if i % 3}))) == []


def test_an_alert_survives_a_gap_shorter_than_its_patience() -> None:
    run = play(9, rule("a", {**during(1, 4, "x"), **during(6, 9, "x")}))
    assert told(run) == [("a", "firing", 1, 3)]


def test_an_abstention_is_shown_and_changes_nothing() -> None:
    run = play(7, rule("a", {**during(1, 4, "x"), **dict.fromkeys(range(5, 8), "blind")}))
    assert told(run) == [("a", "firing", 1, 3)]
    assert str(run.session.judgements["a"]) == "firing: blind"
    assert str(play(1, rule("a", {1: "too short"})).session.judgements["a"]) == "not judged: too short"


def test_a_missing_series_is_an_abstention_with_its_reason() -> None:
    run = Run(rules=[rule("a", during(1, 9, "x"), needs=("cuda_bytes",))])
    assert str(run.session.judgements["a"]) == "not judged: no step observed yet"
    run.step(1.0)
    assert str(run.session.judgements["a"]) == "not judged: cuda_bytes not measured yet"


def test_the_same_fault_grows_without_another_alert_and_keeps_its_first_culprit() -> None:
    run = play(6, rule("a", {**during(1, 3, "x"), **during(4, 6, "early", "x")}))
    assert told(run) == [("a", "firing", 1, 3)]
    assert run.alert("a").where == ("x", "early")


def test_faults_without_a_common_culprit_are_two_alerts() -> None:
    def judge(view: View, firing: Firing) -> Verdict:
        return Findings(tuple(Finding((name,), name, {}, "") for name in ("x", "y")))

    run = play(3, rule("a", {}, judge=judge))
    assert [alert.where for alert in run.session.alerts] == [("x",), ("y",)]


def test_the_judge_is_told_which_culprits_fire() -> None:
    seen: list[Firing] = []

    def judge(view: View, firing: Firing) -> Verdict:
        seen.append(firing)
        return Findings((Finding(("x",), "", {}, ""),))

    play(5, rule("a", {}, judge=judge))
    assert seen == [frozenset()] * 3 + [frozenset({"x"})] * 2


def test_a_consequence_is_attached_to_what_began_earlier() -> None:
    cause = rule("cause", during(1, 9, "x"), causes=frozenset({"effect"}), stage=Stage.UPDATE)
    effect = rule("effect", during(3, 9, "y"), severity=Severity.CRITICAL, stage=Stage.FORWARD)
    run = play(9, cause, effect)
    # Told once when it fires, once more when its consequence makes it worse.
    assert told(run) == [("cause", "firing", 1, 3), ("cause", "firing", 1, 5)]
    alert = run.alert("cause")
    assert alert.consequences == ("effect",)
    assert alert.severity is Severity.CRITICAL
    assert alert.evidence["consequences"] == {
        "effect": {"since_step": 3, "where": ["y"], "summary": "effect at y"}
    }
    assert str(run.session.judgements["effect"]) == "suspect: follows from cause"


def test_at_the_same_step_the_earlier_stage_is_the_cause() -> None:
    both = frozenset({"a", "b"})
    run = play(
        5,
        rule("b", during(1, 5, "x"), stage=Stage.UPDATE, causes=both),
        rule("a", during(1, 5, "x"), stage=Stage.FORWARD, causes=both),
    )
    assert run.firing == {"a"}
    assert run.alert("a").consequences == ("b",)


def test_what_began_later_or_may_not_cause_it_explains_nothing() -> None:
    run = play(
        6,
        rule("a", during(1, 6, "x")),
        rule("later", during(2, 6, "x"), causes=frozenset({"a"})),
    )
    assert run.firing == {"a", "later"}


def test_a_consequence_that_is_sure_fires_its_cause_early() -> None:
    cause = rule("cause", during(1, 9, "x"), causes=frozenset({"effect"}), patience=4)
    run = play(2, cause, rule("effect", during(2, 9, "y"), patience=1))
    assert told(run) == [("cause", "firing", 1, 2)]
    assert run.alert("cause").consequences == ("effect",)


def test_an_alert_that_turns_out_a_consequence_is_closed_with_the_cause_named() -> None:
    cause = rule("cause", during(1, 9, "x"), causes=frozenset({"effect"}), patience=8)
    run = play(8, cause, rule("effect", during(2, 9, "y"), patience=1))
    # Half of its patience is enough to be believed when the effect is there.
    assert [(alert.rule, alert.state.value) for alert in run.news][:1] == [("effect", "firing")]
    assert run.firing == {"cause"}
    assert run.session.past_alerts[-1].evidence["consequence_of"] == "cause"


def test_a_consequence_that_outlives_its_cause_fires_by_itself() -> None:
    cause = rule("cause", during(1, 6, "x"), causes=frozenset({"effect"}))
    run = play(12, cause, rule("effect", during(2, 12, "y")))
    assert told(run) == [
        ("cause", "firing", 1, 3), ("cause", "resolved", 1, 8), ("effect", "firing", 2, 8),
    ]  # fmt: skip


def test_causes_form_no_chains() -> None:
    run = play(
        6,
        rule("root", during(1, 6, "x"), causes=frozenset({"middle", "end"})),
        rule("middle", during(2, 6, "y"), causes=frozenset({"end"})),
        rule("end", during(3, 6, "z")),
    )
    assert run.firing == {"root"}
    assert run.alert("root").consequences == ("middle", "end")


def test_what_blinds_is_heard_and_what_sees_through_judges_on() -> None:
    blind = rule("blind", during(2, 9, "x"), patience=1, blinds=True)
    other = rule("other", during(1, 9, "y"))
    through = rule("through", during(1, 9, "z"), sees_through=True)
    run = play(5, other, through, blind)
    assert run.firing == {"blind", "through"}
    assert (
        str(run.session.judgements["other"]) == "not judged: its numbers mean nothing after blind at step 5"
    )


def test_alerts_come_most_severe_first_then_in_causal_order() -> None:
    run = play(
        6,
        rule("late", during(2, 6, "x")),
        rule("early", during(1, 6, "y")),
        rule("worst", during(3, 6, "z"), severity=Severity.CRITICAL),
    )
    assert [alert.rule for alert in run.session.alerts] == ["worst", "early", "late"]


def test_the_digest_tells_what_fired_and_whether_it_still_does() -> None:
    run = play(12, rule("a", during(2, 5, "x")), rule("b", during(4, 12, "y")))
    assert run.session.digest() == {
        "a": {"fired": 1, "active": False, "severity": "warning", "since_step": 2, "where": ["x"]},
        "b": {"fired": 1, "active": True, "severity": "warning", "since_step": 4, "where": ["y"]},
    }


def test_numbers_of_a_firing_alert_stay_current() -> None:
    def judge(view: View, firing: Firing) -> Verdict:
        return Findings((Finding(("x",), f"step {view.sample.step}", {}, ""),))

    run = play(7, rule("a", {}, judge=judge))
    assert (run.alert("a").summary, run.alert("a").step) == ("step 7", 3)


def test_since_is_never_after_the_step_and_may_come_from_the_history() -> None:
    def judge(view: View, firing: Firing) -> Verdict:
        return Findings((Finding(("x",), "", {}, "", since_step=view.sample.step + (5 if firing else -2)),))

    alerts: list[Alert] = play(6, rule("a", {}, judge=judge)).news
    assert [(alert.since_step, alert.step) for alert in alerts] == [(-1, 3)]


def test_rule_ids_are_the_vocabulary() -> None:
    assert {rule.id for rule in ALL_RULES} == {
        "nonfinite", "vanishing_gradient", "exploding_gradient", "dead_neurons", "lr_too_high",
    }  # fmt: skip
    with pytest.raises(KeyError, match="there are nonfinite"):
        rule_named("no_such_rule")


@pytest.mark.parametrize("each", ALL_RULES, ids=lambda each: each.id)
def test_every_rule_explains_itself(each: Rule) -> None:
    text = explain(rule_named(each.id))
    assert each.explain.meaning in text and each.explain.formula in text
    assert each.explain.sources and each.explain.try_next
