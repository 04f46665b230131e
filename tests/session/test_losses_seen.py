"""Loss terms and validation passes in a session: series, and words."""

from __future__ import annotations

import math
from dataclasses import replace

from tests.rules.synthetic_runs import HELLO, perceptron
from tuimon.attach.events import Event
from tuimon.records.criterion import Criterion, Evaluation
from tuimon.records.sample import Log, Sample
from tuimon.session.change import Change, Evaluated
from tuimon.session.scalars import loss_words
from tuimon.session.session import Session

LAYOUT = perceptron(2)


def sample(index: int) -> Sample:
    return Sample(index, index, float(index), LAYOUT.id, loss=1.0)


def apply(to: Session, *events: Event) -> list[Change]:
    return [change for event in events for change in to.apply(event)]


def test_validation_passes_become_series_unless_the_training_logs_its_own() -> None:
    s = Session()
    right = Criterion("cross_entropy", 0.5, judged=4, correct=3)
    blind = Criterion("l1_loss")
    passes = (Evaluation(3, 0.0, 2, criteria=(right,)), Evaluation(6, 0.0, 2, criteria=(blind,)))
    assert apply(s, *passes) == [Evaluated(one) for one in passes]
    history = s.history
    assert history.evaluation == passes[1]
    assert history.scalar("val_loss").steps.tolist() == [3]
    assert (history.scalar("val_loss").newest, history.scalar("val_accuracy").newest) == (0.5, 0.75)
    assert {"val_loss", "val_accuracy"} <= set(history.scalar_names)
    several = Evaluation(9, 0.0, 2, criteria=(Criterion("l1_loss"), Criterion("mse_loss", math.nan)))
    apply(s, several)
    assert math.isnan(history.scalar("val_loss/mse_loss").values[0])
    apply(s, Log(7, 0.0, {"val_loss": 0.25}))
    assert history.scalar("val_loss").steps.tolist() == [7]
    assert history.logged_names == ("val_loss",)
    assert history.missing("val_accuracy") is None


def test_loss_terms_and_accuracy_of_samples_are_series() -> None:
    s = Session()
    terms = (Criterion("cross_entropy", 0.5, judged=4, correct=1), Criterion("mse_loss", 2.0), Criterion("x"))
    apply(s, HELLO, LAYOUT, replace(sample(1), criteria=terms), sample(2))
    assert s.history.scalar("train_accuracy").values.tolist()[:1] == [0.25]
    assert s.history.scalar("criterion/mse_loss").measured.tolist() == [True, False]
    assert "criterion/x" not in s.history.scalar_names


def test_how_a_loss_came_about_in_words() -> None:
    def words(**fields: object) -> str:
        return loss_words(replace(sample(1), **{"loss": 1.0, "microbatches": 1, **fields}))  # type: ignore[arg-type]

    assert words() == ""
    assert words(microbatches=4) == "mean of 4 microbatches"
    assert words(loss_scale=65536.0) == "unscaled"
    assert words(microbatches=2, loss_divisor=2) == "mean of 2 microbatches, divided before backward"
    assert words(microbatches=4, loss=None) == ""
