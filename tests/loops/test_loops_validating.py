"""Labels and validation of a loop that was entered in mid-run, beside its own account of them."""

from __future__ import annotations

from collections.abc import Callable

from looping import Run, close

Observed = Callable[[str], Run]


def test_it_computes_what_it_computes_alone(observed: Observed) -> None:
    run = observed("validating.py")
    assert run.said == run.bare
    assert run.hello["probes"]["criteria"] == "on"


def test_a_step_tells_its_loss_term_labels_predictions_and_accuracy(observed: Observed) -> None:
    run = observed("validating.py")
    # At the first samples it may have been entered in the middle of a step.
    for sample, truth in run.pairs(skip=1):
        (term,) = sample["criteria"]
        assert (term["name"], term["reduction"], term["calls"], term["classes"]) == (
            "cross_entropy", "mean", 2, 5,
        )  # fmt: skip
        assert close(term["value"], truth["loss"], 2.0**-20)
        assert close(term["accuracy"], truth["accuracy"], 2.0**-40)
        assert term["labels"] == {"counts": truth["labels"], "rest": 0}
        assert term["predictions"] == {"counts": truth["predictions"], "rest": 0}
        assert term["n"] == term["judged"] == sum(truth["labels"].values())
        # The loss shown is that of backward, with the division undone.
        assert (sample["microbatches"], sample["loss_divisor"]) == (2, 2)


def test_each_validation_pass_is_one_evaluation(observed: Observed) -> None:
    run = observed("validating.py")
    truths = {line["step"]: line["validated"] for line in run.said if "validated" in line}
    evaluations = run.recording.events("evaluation")
    assert len(evaluations) >= 3
    checked = 0
    for one in evaluations:
        truth, (term,) = truths[one["step"]], one["criteria"]
        assert (one["batches"], term["n"]) == (3, sum(truth["labels"].values()))
        assert close(one["loss"], truth["val_loss"], 2.0**-20)
        # Until `--every 1` arrives, the budget lets it look at the labels of the first batch, or of more.
        of_first, accuracy_of_first = truth["accuracy_of_first"]
        told = {of_first: accuracy_of_first, term["n"]: truth["val_accuracy"]}
        if term["judged"] in told:
            checked += 1
            assert close(one["accuracy"], told[term["judged"]], 2.0**-40)
    assert checked
