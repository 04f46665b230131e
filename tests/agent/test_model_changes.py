"""What becomes of a watched model in mid-run: moved, replaced, joined, copied."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref

import pytest
import torch
from observing import A, assert_describes, observing
from stepping import step, vectors
from torch import nn

from tuimon.agent import agent as agent_module
from tuimon.records.layout import TensorKind


@pytest.fixture
def always_takes_stock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_module, "STOCKTAKING_S", 0.0)


@pytest.mark.usefixtures("always_takes_stock")
def test_a_model_that_changes_its_type() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with observing(model) as seen:
        for _ in range(2):
            step(model, optimizer)
        model.double()
        for _ in range(2):
            step(model, optimizer, lambda: vectors().double())
    assert len(seen.samples) == 4
    stats = seen.stats()
    assert_describes(stats["0.weight", TensorKind.WEIGHT].sketch, model[0].weight)
    assert_describes(stats["0.weight", TensorKind.GRADIENT].sketch, model[0].weight.grad)
    dtypes = {seen.layout(seen.samples[-1]).tensors[row].dtype for row in seen.samples[-1].tensors.rows}
    assert dtypes == {"float64"}


@pytest.mark.usefixtures("always_takes_stock")
def test_a_submodule_that_is_replaced() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with observing(model) as seen:
        step(model, optimizer)
        model[2] = nn.Linear(8, 5)
        optimizer.add_param_group({"params": list(model[2].parameters()), "lr": 0.5})
        for _ in range(3):
            step(model, optimizer)
    assert seen.stats()["2", A].sketch.n == 6 * 5
    assert seen.stats()["2.weight", TensorKind.GRADIENT].sketch.n == 40
    assert seen.samples[-1].lr == (0.01, 0.5)
    assert [s.step for s in seen.samples] == [1, 2, 3, 4]


def test_a_model_that_is_replaced_is_not_kept_alive() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    with observing(model) as seen:
        for _ in range(3):
            step(model, optimizer)
        gone = [weakref.ref(one) for one in (model, model[0], model[0].weight, optimizer)]
        model = copy.deepcopy(model)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
        gc.collect()
        step(model, optimizer)
        gc.collect()
        assert [ref() for ref in gone] == [None] * 4
        count = len(seen.samples)
        seen.agent.add_root(model, None)
        for _ in range(3):
            step(model, optimizer)
        assert len(seen.samples) > count
        assert seen.samples[-1].lr == (0.02,)
        assert seen.stats()["0", A].sketch.n == 48


def test_a_second_root_in_mid_run() -> None:
    first, second = nn.Linear(4, 2), nn.Linear(2, 3)
    optimizer = torch.optim.SGD([*first.parameters(), *second.parameters()], lr=0.01)
    both = nn.Sequential(first, second)
    with observing({"first": first}) as seen:
        for _ in range(2):
            step(both, optimizer)
        assert set(seen.names(A)) == {"first"} or set(seen.names(A)) == {"Linear"}
        seen.agent.add_root(second, "second")
        for _ in range(2):
            step(both, optimizer)
    assert set(seen.names(A)) == {"first", "second"}


def test_copies_and_pickles_of_a_watched_model_are_plain_models() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with observing(model) as seen:
        step(model, optimizer)
        pickled = pickle.dumps(model)
        assert b"tuimon" not in pickled
        for other in (copy.deepcopy(model), pickle.loads(pickled)):
            x = vectors()
            assert torch.equal(other(x), model.eval()(x))
            model.train()
            step(other, torch.optim.SGD(other.parameters(), lr=0.01))
        # Not in the middle of a forward: what the copies did is nowhere in the next sample.
        x = step(model, optimizer)
        assert_describes(seen.stats()["input", TensorKind.INPUT].sketch, x)
        assert seen.stats()["0", A].sketch.n == 48
    assert len(seen.samples) == 2
