"""The step in which `tuimon run` enters: begun without the agent, and observed from its backward on."""

from __future__ import annotations

import copy
import gc
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from entering import Told, mlp, named
from torch import nn

from tuimon.agent import introduction, watcher
from tuimon.agent.enter import enter
from tuimon.records.layout import Layout, TensorKind
from tuimon.records.sample import Sample
from tuimon.records.tensors import TensorStats

Entered = Callable[[], Told]


@pytest.fixture
def entered(tmp_path: Path) -> Iterator[Entered]:
    """Enters on this thread, as the first backward does; taken out again in the end."""
    # Models of earlier tests would be found too: those in cycles, and those that the compiler holds.
    if "torch._dynamo" in sys.modules:
        sys.modules["torch._dynamo"].reset()
    gc.collect()

    def begin() -> Told:
        enter({"how": "run", "every": 1, "directory": str(tmp_path / "sockets")})
        here = watcher.current()
        assert here is not None
        return Told(here.path)

    yield begin
    here = watcher.current()
    if here is not None:
        here.end("closed")
        assert here.agent.guard.failure is None


def first(told: Told) -> Sample:
    found = told.until(lambda record: isinstance(record, Sample))
    assert isinstance(found, Sample)
    return found


def tensors(told: Told, sample: Sample, kind: TensorKind) -> list[TensorStats]:
    layout = next(record for record in told.records if isinstance(record, Layout))
    return [t for t in sample.tensors.stats(layout) if t.kind is kind]


def test_gradients_updates_and_loss_of_the_first_step_are_seen(entered: Entered) -> None:
    model = mlp()
    average = copy.deepcopy(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    loss = model(torch.randn(6, 4)).square().mean()
    told = entered()
    loss.backward()
    norm = math.hypot(*(float(p.grad.norm()) for p in model.parameters() if p.grad is not None))
    optimizer.step()
    sample = first(told)
    assert sample.step == 1
    assert sample.loss == pytest.approx(float(loss.detach()))
    assert sample.grad_norm == pytest.approx(norm, rel=2.0**-18)
    assert sample.lr == (0.1,)
    assert [t.name for t in tensors(told, sample, TensorKind.GRADIENT)] == named(model)
    assert all(t.update_ratio for t in tensors(told, sample, TensorKind.WEIGHT))
    # The copy, which nothing steps, is no part of it.
    assert told.hello.parameters == sum(p.numel() for p in average.parameters())


def test_what_only_a_forward_shows_is_not_judged_by_the_first_step(entered: Entered) -> None:
    model = mlp()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    loss = nn.functional.mse_loss(model(torch.randn(6, 4)), torch.zeros(6, 2))
    told = entered()
    loss.backward()
    optimizer.step()
    first(told)
    layout = next(record for record in told.records if isinstance(record, Layout))
    assert {layer.hidden for layer in layout.layers} == {"no forward has been seen yet"}
    here = watcher.current()
    assert here is not None
    assert set(introduction.probes(here.agent).values()) == {"on"}
    nn.functional.mse_loss(model(torch.randn(6, 4)), torch.zeros(6, 2)).backward()
    optimizer.step()
    told.until(lambda record: isinstance(record, Layout) and not any(one.hidden for one in record.layers))
    assert set(introduction.probes(here.agent).values()) == {"on"}


def test_entered_by_an_optimizers_step_its_gradients_are_seen(entered: Entered) -> None:
    model = nn.Linear(4, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model(torch.randn(6, 4)).square().mean().backward()
    told = entered()
    optimizer.step()
    sample = first(told)
    assert sample.grad_norm is not None
    assert sample.loss is None  # its backward was over


def test_a_loss_that_a_scaler_had_scaled_before_is_unscaled(entered: Entered) -> None:
    model = nn.Linear(4, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    loss = model(torch.randn(6, 4)).square().mean()
    scaled = scaler.scale(loss)
    told = entered()
    scaled.backward()
    scaler.step(optimizer)
    scaler.update()
    sample = first(told)
    assert sample.loss == pytest.approx(float(loss.detach()))
    assert sample.loss_scale == 1024.0


def test_with_two_scalers_the_first_loss_is_not_known(entered: Entered) -> None:
    model = nn.Linear(4, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scalers = [torch.amp.GradScaler("cpu", init_scale=scale) for scale in (2.0, 4.0)]
    losses = [scaler.scale(model(torch.randn(6, 4)).square().mean()) for scaler in scalers]
    told = entered()
    losses[0].backward()
    scalers[0].step(optimizer)
    scalers[0].update()
    assert first(told).loss is None


def test_a_sum_over_tokens_whose_count_was_not_seen_is_not_known(entered: Entered) -> None:
    model = nn.Linear(4, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    losses = [model(torch.randn(6, 4)).square().sum() / 24 for _ in range(2)]
    told = entered()
    for loss in losses:
        loss.backward()
    optimizer.step()
    assert first(told).loss is None


def test_accumulated_losses_are_known_as_ever(entered: Entered) -> None:
    model = nn.Linear(4, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    losses = [model(torch.randn(6, 4)).square().mean() / 2 for _ in range(2)]
    told = entered()
    for loss in losses:
        loss.backward()
    optimizer.step()
    assert first(told).loss == pytest.approx(sum(float(loss.detach()) for loss in losses))
