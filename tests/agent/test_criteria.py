"""Loss functions as a step's terms: values, classes, labels and predictions against the plain truth."""

from __future__ import annotations

import pytest
import torch
from observing import observing
from scoring import Loss, Scores, counts, observed
from torch import nn
from torch.nn import functional as F
from torch.nn.functional import cross_entropy as imported_before

from tuimon.agent.loss import labels as labels_module
from tuimon.agent.loss.loss_functions import LOSS_FUNCTIONS
from tuimon.records.criterion import MOST_FREQUENT, ClassCounts

IGNORED = -100

SHAPES = {
    "one sample": (5,),
    "vectors": (16, 5),
    "sequences": (3, 5, 7),
    "segmentation": (2, 5, 6, 4),
    "volumes": (2, 3, 3, 2, 4),
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=list(SHAPES))
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("ignoring", [False, True], ids=["all count", "some ignored"])
@pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
def test_cross_entropy(shape: tuple[int, ...], reduction: str, ignoring: bool, weighted: bool) -> None:
    scores = torch.randn(shape)
    classes = shape[1] if len(shape) > 1 else shape[0]
    target = torch.randint(classes, (shape[0], *shape[2:]) if len(shape) > 1 else ())
    if ignoring and target.dim():
        target.view(-1)[::3] = IGNORED
    weight = torch.rand(classes) + 0.5 if weighted else None
    (term,) = observed(scores, lambda z: F.cross_entropy(z, target, weight, reduction=reduction))
    kept = target != IGNORED
    predicted = scores.argmax(1 if len(shape) > 1 else 0)[kept]
    truth = target[kept]
    expected = F.cross_entropy(scores, target, weight, reduction=reduction)
    value = float(expected.sum()) / len(truth) if reduction == "none" else float(expected)
    assert (term.name, term.reduction, term.calls, term.n) == ("cross_entropy", reduction, 1, len(truth))
    assert term.value == pytest.approx(value, rel=1e-6)
    assert (term.classes, term.judged) == (classes, len(truth))
    assert term.accuracy == float((truth == predicted).sum()) / len(truth)
    assert (term.labels, term.predictions) == (counts(truth), counts(predicted))


def test_smoothed_labels_and_probabilities_as_targets() -> None:
    scores, hard = torch.randn(12, 4), torch.randint(4, (12,))
    (smoothed,) = observed(scores, lambda z: F.cross_entropy(z, hard, label_smoothing=0.1))
    assert smoothed.value == float(F.cross_entropy(scores, hard, label_smoothing=0.1))
    soft = torch.rand(12, 4).softmax(1)
    (mixed,) = observed(scores, lambda z: F.cross_entropy(z, soft))
    assert (mixed.value, mixed.n) == (float(F.cross_entropy(scores, soft)), 12)
    for term, truth in ((smoothed, hard), (mixed, soft.argmax(1))):
        assert term.accuracy == float((scores.argmax(1) == truth).double().mean())
        assert (term.labels, term.predictions) == (counts(truth), counts(scores.argmax(1)))


def test_a_class_that_is_ignored_does_not_count() -> None:
    scores, target = torch.randn(20, 4), torch.randint(4, (20,))
    (term,) = observed(scores, lambda z: F.cross_entropy(z, target, ignore_index=0))
    assert term.labels == counts(target[target != 0])
    assert term.n == term.judged == int((target != 0).sum())


def test_a_batch_of_ignored_targets_only() -> None:
    target = torch.full((4,), IGNORED)
    (term,) = observed(torch.randn(4, 3), lambda z: F.cross_entropy(z, target))
    assert term.value != term.value
    assert (term.n, term.judged, term.accuracy) == (0, 0, None)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_types(dtype: torch.dtype) -> None:
    scores, target = torch.randn(8, 3).to(dtype), torch.randint(3, (8,))
    (term,) = observed(scores, lambda z: F.nll_loss(z, target))
    assert term.name == "nll_loss"
    assert term.predictions == counts(scores.argmax(1))


@pytest.mark.parametrize("logits", [True, False])
@pytest.mark.parametrize("shape", [(9,), (9, 1), (4, 3)])
def test_binary_losses_count_element_by_element(shape: tuple[int, ...], logits: bool) -> None:
    scores = torch.randn(shape) if logits else torch.rand(shape)
    target = torch.randint(2, shape).float()
    loss = F.binary_cross_entropy_with_logits if logits else F.binary_cross_entropy
    (term,) = observed(scores, lambda z: loss(z, target))
    predicted = (scores > (0.0 if logits else 0.5)).long()
    assert term.name == loss.__name__
    assert (term.value, term.n, term.classes) == (float(loss(scores, target)), target.numel(), 2)
    assert term.accuracy == pytest.approx(float((predicted == target).float().mean()))
    assert (term.labels, term.predictions) == (counts(target.long()), counts(predicted))


def test_soft_targets_of_a_binary_loss_are_no_labels() -> None:
    scores, target = torch.randn(9), torch.rand(9)
    (term,) = observed(scores, lambda z: F.binary_cross_entropy_with_logits(z, target))
    assert term.value == float(F.binary_cross_entropy_with_logits(scores, target))
    assert (term.labels, term.predictions, term.accuracy) == (None, None, None)


X, Y, SIGNS = torch.randn(6, 4), torch.rand(6, 4), torch.tensor([1.0, -1.0, 1.0, 1.0, -1.0, -1.0])
OTHERS: dict[str, tuple[Loss, int]] = {
    "mse_loss": (lambda z: F.mse_loss(z, Y), 24),
    "l1_loss": (lambda z: F.l1_loss(z, Y), 24),
    "smooth_l1_loss": (lambda z: F.smooth_l1_loss(z, Y, beta=0.5), 24),
    "huber_loss": (lambda z: F.huber_loss(z, Y, delta=2.0), 24),
    "kl_div": (lambda z: F.kl_div(z.log_softmax(1), Y, reduction="batchmean"), 6),
    "poisson_nll_loss": (lambda z: F.poisson_nll_loss(z, Y), 24),
    "soft_margin_loss": (lambda z: F.soft_margin_loss(z[:, 0], SIGNS), 6),
    "multi_margin_loss": (lambda z: F.multi_margin_loss(z, torch.arange(6) % 4), 6),
    "multilabel_margin_loss": (lambda z: F.multilabel_margin_loss(z, torch.full((6, 4), -1)), 6),
    "margin_ranking_loss": (lambda z: F.margin_ranking_loss(z[:, 0], z[:, 1], SIGNS), 6),
    "hinge_embedding_loss": (lambda z: F.hinge_embedding_loss(z[:, 0], SIGNS), 6),
    "cosine_embedding_loss": (lambda z: F.cosine_embedding_loss(z, Y, SIGNS), 6),
    "triplet_margin_loss": (lambda z: F.triplet_margin_loss(z, Y, -Y), 6),
    "ctc_loss": (
        lambda z: F.ctc_loss(
            z[:, None].log_softmax(2), torch.ones(1, 2).long(), torch.tensor([6]), torch.tensor([2])
        ),
        1,
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_losses(name: str) -> None:
    loss, n = OTHERS[name]
    (term,) = observed(X, loss)
    assert (term.name, term.n) == (name, n)
    assert term.value == pytest.approx(float(loss(X)), rel=1e-6)
    assert term.reduction == ("batchmean" if name == "kl_div" else "mean")


def test_each_function_has_a_test() -> None:
    classifying = {"cross_entropy", "nll_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits"}
    tested = {*OTHERS, *classifying}
    assert {function.name for function in LOSS_FUNCTIONS} == tested
    assert all(hasattr(function.module, function.attribute) for function in LOSS_FUNCTIONS)


def test_a_name_imported_before_and_the_modules_are_seen() -> None:
    target = torch.randint(3, (5,))
    (term,) = observed(torch.randn(5, 3), lambda z: imported_before(z, target))
    assert term.name == "cross_entropy"
    (term,) = observed(torch.randn(5, 3), lambda z: nn.CrossEntropyLoss()(z, target))
    assert term.name == "cross_entropy"


def test_terms_are_named_in_the_order_called_and_microbatches_belong_together() -> None:
    def loss(z: torch.Tensor) -> torch.Tensor:
        return F.mse_loss(z, Y) + 0.1 * F.l1_loss(z, Y) + F.mse_loss(z, -Y)

    terms = observed(X, loss, microbatches=3)
    assert [(term.name, term.calls, term.n) for term in terms] == [
        ("mse_loss", 3, 72), ("l1_loss", 3, 72), ("mse_loss.1", 3, 72),
    ]  # fmt: skip
    expected = (F.mse_loss(X, Y), F.l1_loss(X, Y), F.mse_loss(X, -Y))
    assert [term.value for term in terms] == pytest.approx([float(value) for value in expected])


def test_a_loss_in_a_loop_over_time_is_one_term() -> None:
    def loss(z: torch.Tensor) -> torch.Tensor:
        return torch.stack([F.mse_loss(z[i % 6], Y[i % 6]) for i in range(30)]).sum()

    (term,) = observed(X, loss)
    assert (term.name, term.calls, term.n) == ("mse_loss", 30, 120)
    assert term.value == pytest.approx(float(F.mse_loss(X, Y)))


def test_optimizers_that_take_turns_have_terms_of_their_own() -> None:
    models = {"g": Scores(torch.zeros(4)), "d": Scores(torch.ones(4))}
    optimizers = [torch.optim.SGD(model.parameters(), lr=0.0) for model in models.values()]
    with observing(models, tuple(optimizers)) as seen:
        for model, optimizer, target in zip(models.values(), optimizers, (1.0, 0.0), strict=True):
            F.binary_cross_entropy_with_logits(model(), torch.full((4,), target)).backward()
            optimizer.step()
    terms = seen.samples[-1].criteria
    name = "binary_cross_entropy_with_logits"
    assert [(term.name, term.labels) for term in terms] == [
        (name, ClassCounts((1,), (4,))), (f"{name}.1", ClassCounts((0,), (4,))),
    ]  # fmt: skip


def test_a_closure_shows_its_first_loss() -> None:
    model = Scores(torch.randn(6))
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.5, max_iter=5)
    with observing(model, (optimizer,)) as seen:
        for _ in range(2):

            def closure() -> torch.Tensor:
                optimizer.zero_grad()
                loss = F.mse_loss(model(), torch.ones(6))
                loss.backward()
                return loss

            optimizer.step(closure)
    for sample in seen.samples:
        (term,) = sample.criteria
        assert (term.calls, term.value) == (1, sample.loss)


def test_large_ones_are_read_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labels_module, "SCORE_BYTES", 40 * 4 * 5)
    monkeypatch.setattr(labels_module, "LABELS", 64)
    target = (torch.arange(8) % 5).expand(8, 8, 8).contiguous()
    scores = F.one_hot(target, 5).movedim(-1, 1).float()
    (term,) = observed(scores, lambda z: F.cross_entropy(z, target))
    assert term.labels is not None and term.predictions is not None
    assert 0 < term.judged <= 40 and 0 < term.labels.n <= 64
    assert term.n == 8 * 8 * 8
    assert term.accuracy == 1.0
    # Each eighth would be of one column, and of one class.
    assert term.labels.classes == (0, 1, 2, 3, 4)


def test_of_very_many_classes_the_most_frequent_are_told() -> None:
    classes = 2000
    target = torch.cat([torch.arange(200), torch.full((100,), 1234), torch.full((50,), 7)])
    (term,) = observed(torch.zeros(350, classes), lambda z: F.cross_entropy(z, target))
    assert term.labels is not None
    told = dict(zip(term.labels.classes, term.labels.counts, strict=True))
    assert len(told) == MOST_FREQUENT
    assert (told[1234], told[7], term.labels.n) == (100, 51, 350)
    assert list(told) == sorted(told)
