"""Passes of validation between training steps, against the plain truth over the whole set."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

import pytest
import torch
from observing import Observed, observing
from torch import nn
from torch.nn import functional as F

from tuimon.records.criterion import Evaluation
from tuimon.records.sample import Sample

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
X, Y = torch.randn(22, 4), torch.randint(3, (22,))
Y[::5] = -100
WEIGHT = torch.tensor([0.5, 1.0, 3.0])


class Training:
    """A small classifier that is trained and validated."""

    def __init__(self, every: int | None = 1) -> None:
        self.model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 3))
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)
        self.every = every

    @contextlib.contextmanager
    def observed(self) -> Iterator[Observed]:
        with observing(self.model, (self.optimizer,), every=self.every) as seen:
            yield seen

    def train(
        self,
        steps: int = 1,
        metric: bool = False,
        microbatches: int = 1,
        mode: bool = True,
        own: bool = False,
    ) -> None:
        """Steps in train mode (or not), with a loss of torch's (or one of its own)."""
        self.model.train(mode)
        for _ in range(steps):
            self.optimizer.zero_grad()
            for _ in range(microbatches):
                out = self.model(X[:6])
                loss = out.square().mean() if own else F.cross_entropy(out, Y[:6])
                if metric:
                    with torch.no_grad():
                        F.mse_loss(out.softmax(1), F.one_hot(Y[:6].clamp_min(0), 3).float())
                loss.backward()
            self.optimizer.step()

    def validate(self, loss: Loss = F.cross_entropy, size: int = 8, mode: bool = False) -> torch.Tensor:
        """All outputs, after a pass in eval mode (or not)."""
        self.model.train(mode)
        with torch.no_grad():
            outputs = []
            for x, y in zip(X.split(size), Y.split(size), strict=True):
                outputs.append(self.model(x))
                loss(outputs[-1], y)
        return torch.cat(outputs)


def evaluations(seen: Observed) -> list[Evaluation]:
    return [record for record in seen.records if isinstance(record, Evaluation)]


@pytest.mark.parametrize("every", [1, 3])
def test_a_pass_between_steps_is_one_evaluation(every: int) -> None:
    training = Training(every)
    with training.observed() as seen:
        training.train(4)
        out = training.validate()
        training.train(1)
        (one,) = evaluations(seen)
        training.train(2)
    assert evaluations(seen) == [one]
    assert (one.step, one.batches) == (4, 3)
    kept = Y != -100
    assert one.loss == pytest.approx(float(F.cross_entropy(out, Y)), rel=1e-6)
    assert one.accuracy == float((out.argmax(1) == Y).sum()) / int(kept.sum())
    (term,) = one.criteria
    assert term.labels is not None and term.predictions is not None
    assert (term.n, term.judged, term.classes) == (int(kept.sum()), int(kept.sum()), 3)
    assert list(term.labels.counts) == Y[kept].bincount().tolist()
    assert term.predictions.n == int(kept.sum())
    # It is no part of the training's loss terms.
    assert all(sample.criteria[0].calls == 1 for sample in seen.samples)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("weighted", [False, True])
def test_its_loss_is_that_of_the_whole_set(reduction: str, weighted: bool) -> None:
    weight = WEIGHT if weighted else None
    training = Training()
    with training.observed() as seen:
        training.train(1)
        out = training.validate(lambda z, y: F.cross_entropy(z, y, weight, reduction=reduction))
        training.train(1)
    (one,) = evaluations(seen)
    if reduction == "mean":
        expected = float(F.cross_entropy(out, Y, weight))
    else:
        expected = float(F.cross_entropy(out, Y, weight, reduction="sum")) / int((Y != -100).sum())
    assert one.loss == pytest.approx(expected, rel=1e-6)


def test_a_batch_without_targets_counts_for_nothing() -> None:
    training = Training()
    with training.observed() as seen:
        training.train(1)
        training.model.eval()
        with torch.no_grad():
            F.cross_entropy(training.model(X[:2]), torch.full((2,), -100))
            expected = float(F.cross_entropy(training.model(X), Y))
        training.train(1)
    assert evaluations(seen)[0].loss == pytest.approx(expected)


def test_several_losses_of_a_pass() -> None:
    def loss(out: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(out, y) + 0.1 * F.mse_loss(out, torch.zeros_like(out))

    training = Training()
    with training.observed() as seen:
        training.train(1)
        out = training.validate(loss)
        training.train(1)
    (one,) = evaluations(seen)
    assert [term.name for term in one.criteria] == ["cross_entropy", "mse_loss"]
    assert one.criteria[1].value == pytest.approx(float(out.square().mean()))


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_however_gradients_are_off_or_forgotten(context: Callable[[], object]) -> None:
    training = Training()
    with training.observed() as seen:
        training.train(2)
        training.model.eval()
        with context():  # type: ignore[attr-defined]
            for x, y in zip(X.split(8), Y.split(8), strict=True):
                F.cross_entropy(training.model(x), y)
        training.train(2)
    (one,) = evaluations(seen)
    assert (one.step, one.batches) == (2, 3)
    assert len(seen.samples) == 4
    assert all(sample.criteria[0].calls == 1 for sample in seen.samples)


@pytest.mark.parametrize("microbatches", [1, 3])
@pytest.mark.parametrize("every", [1, 4])
@pytest.mark.parametrize("own", [False, True])
def test_a_figure_of_each_training_step_is_no_validation(microbatches: int, every: int, own: bool) -> None:
    training = Training(every)
    with training.observed() as seen:
        training.train(12, metric=True, microbatches=microbatches, own=own)
    assert evaluations(seen) == []


def test_validation_in_train_mode_is_seen_where_it_is_a_pass() -> None:
    training = Training()
    with training.observed() as seen:
        for _ in range(2):
            training.train(3)
            training.validate(mode=True)
        training.train(1)
    assert [(one.step, one.batches) for one in evaluations(seen)] == [(3, 3), (6, 3)]


@pytest.mark.parametrize("every", [1, 5])
@pytest.mark.parametrize("before", [0, 3])
def test_training_in_eval_mode_is_no_validation(before: int, every: int) -> None:
    training = Training(every)
    with training.observed() as seen:
        training.train(before)
        training.train(4, mode=False)
        assert evaluations(seen) == []
        training.train(2)
        training.validate()
        training.train(1)
    assert [one.step for one in evaluations(seen)] == [before + 6]


def test_a_pass_before_the_first_step_and_one_after_the_last() -> None:
    training = Training()
    with training.observed() as seen:
        training.validate()
        training.train(2)
        training.validate()
    assert [one.step for one in evaluations(seen)] == [0, 2]
    assert isinstance(seen.records[-1], Evaluation)


def test_validation_is_no_wait_for_data() -> None:
    training = Training()
    with training.observed() as seen:
        training.train(1)
        agent = seen.agent
        opened = agent.window.timer._open["data"][0]
        training.validate()
        assert agent.window.timer._open["data"][0] > opened
        training.train(1)


def test_reading_labels_keeps_to_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a budget only so many batches are read as it allows; the loss is that of all."""
    now = iter(range(10**6))
    monkeypatch.setattr("tuimon.agent.loss.evaluation.clock", lambda: next(now) * 1.0)
    training = Training(every=None)
    with training.observed() as seen:
        training.train(1)
        out = training.validate(size=2)
        training.train(1)
    (one,) = evaluations(seen)
    (term,) = one.criteria
    assert one.batches == term.calls == 11
    assert one.loss == pytest.approx(float(F.cross_entropy(out, Y)), rel=1e-6)
    assert term.judged == int((Y[:2] != -100).sum())


def test_another_thread_is_another_matter() -> None:
    training = Training()
    with training.observed() as seen:
        training.train(2)
        thread = threading.Thread(target=training.validate)
        thread.start()
        thread.join()
        training.train(1)
    assert evaluations(seen) == []
    assert len([record for record in seen.records if isinstance(record, Sample)]) == 3
