"""Trainings without an optimizer of torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from observing import A, G, assert_describes, observing
from torch import nn
from torch.autograd import grad

from tuimon.records.layout import TensorKind

RATE = 0.1
Parameters = list[nn.Parameter]


def mlp() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))


def minus(parameters: Parameters) -> None:
    with torch.no_grad():
        for p in parameters:
            p -= RATE * p.grad
            p.grad = None


def minus_and_zero(parameters: Parameters) -> None:
    with torch.no_grad():
        for p in parameters:
            p.sub_(p.grad, alpha=RATE)
            p.grad.zero_()


def data(parameters: Parameters) -> None:
    for p in parameters:
        p.data -= RATE * p.grad.data
        p.grad = None


def data_and_zero(parameters: Parameters) -> None:
    for p in parameters:
        p.data.add_(p.grad.data, alpha=-RATE)
        p.grad.data.zero_()


def foreach(parameters: Parameters) -> None:
    with torch.no_grad():
        torch._foreach_add_(parameters, [p.grad for p in parameters], alpha=-RATE)
        torch._foreach_zero_([p.grad for p in parameters])


STYLES = [minus, minus_and_zero, data, data_and_zero, foreach]


def batches(n: int) -> Iterator[torch.Tensor]:
    for _ in range(n):
        yield torch.randn(6, 4)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("every", [1, 3])
def test_steps_are_found(style: Callable[[Parameters], None], every: int) -> None:
    model = mlp()
    parameters, losses, norms = list(model.parameters()), {}, {}
    gradients: dict[int, torch.Tensor] = {}
    ratios: dict[int, float] = {}
    with observing(model, every=every) as seen:
        for step, x in enumerate(batches(20)):
            loss = model(x).square().mean()
            loss.backward()
            losses[step] = loss.item()
            norms[step] = float(sum(p.grad.double().square().sum() for p in parameters)) ** 0.5
            gradients[step] = model[0].weight.grad.clone()
            old = model[0].weight.detach().clone()
            style(parameters)
            ratios[step] = float((model[0].weight.detach() - old).norm() / old.norm())
    # The first step is what it is found by; the last one ends with the next forward.
    assert [sample.step for sample in seen.samples] == list(range(1, 19, every))
    for sample in seen.samples:
        step = sample.step
        stats = seen.stats(sample)
        assert sample.loss == losses[step]
        assert sample.grad_norm == pytest.approx(norms[step], rel=1e-5)
        assert sample.grad_norm_preclip == pytest.approx(norms[step], rel=1e-5)
        assert sample.lr == (None,)
        assert_describes(stats["0.weight", TensorKind.GRADIENT].sketch, gradients[step])
        ratio = stats["0.weight", TensorKind.WEIGHT].update_ratio
        assert ratio == pytest.approx(ratios[step], rel=1e-4)
        assert stats["0", A].sketch.n == 6 * 8
        assert stats["0", G].sketch.n == 6 * 8
        assert (sample.times.optimizer_s, sample.times.data_s) == (None, None)


@pytest.mark.parametrize("divided", [False, True])
def test_accumulated_by_hand(divided: bool) -> None:
    model = mlp()
    parameters, means, norms = list(model.parameters()), [], []
    with observing(model) as seen:
        for _ in range(6):
            losses = []
            for x in batches(3):
                loss = model(x).square().mean()
                losses.append(loss.item())
                (loss / 3 if divided else loss).backward()
            norms.append(float(sum(p.grad.double().square().sum() for p in parameters)) ** 0.5)
            means.append(sum(losses) / 3)
            minus(parameters)
    assert [sample.microbatches for sample in seen.samples] == [3] * 4
    assert seen.losses == pytest.approx(means[1:5], rel=1e-6)
    assert [sample.grad_norm for sample in seen.samples] == pytest.approx(norms[1:5], rel=1e-5)
    for sample in seen.samples:
        assert seen.stats(sample)["0", A].sketch.n == 3 * 6 * 8
        assert seen.stats(sample)["0.weight", TensorKind.GRADIENT].sketch.n == 32


@pytest.mark.parametrize("every", [1, 3])
def test_gradients_of_autograd_grad(every: int) -> None:
    model = mlp()
    parameters, losses, norms = list(model.parameters()), {}, {}
    with observing(model, every=every) as seen:
        for step, x in enumerate(batches(20)):
            loss = model(x).square().mean()
            gradients = grad(loss, parameters)
            losses[step] = loss.item()
            norms[step] = float(sum(g.double().square().sum() for g in gradients)) ** 0.5
            with torch.no_grad():
                for p, g in zip(parameters, gradients, strict=True):
                    p -= RATE * g
    assert [sample.step for sample in seen.samples] == list(range(1, 19, every))
    for sample in seen.samples:
        assert sample.loss == losses[sample.step]
        assert sample.grad_norm == pytest.approx(norms[sample.step], rel=1e-5)
        assert set(seen.names(TensorKind.GRADIENT, sample)) == {"0.weight", "0.bias", "2.weight", "2.bias"}


@pytest.mark.parametrize("style", [minus, minus_and_zero])
def test_clipped_by_hand(style: Callable[[Parameters], None]) -> None:
    model = mlp()
    parameters, before, after = list(model.parameters()), [], []
    with observing(model) as seen:
        for x in batches(6):
            model(x).square().mean().backward()
            before.append(float(nn.utils.clip_grad_norm_(parameters, 0.01)))
            after.append(float(sum(p.grad.double().square().sum() for p in parameters)) ** 0.5)
            style(parameters)
    assert [s.grad_norm_preclip for s in seen.samples] == pytest.approx(before[1:5], rel=1e-5)
    # Set to zero, what was applied can no longer be seen.
    told = after[1:5] if style is minus else [None] * 4
    assert [s.grad_norm for s in seen.samples] == pytest.approx(told, rel=1e-5)
