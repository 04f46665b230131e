"""Observing loss functions changes nothing: not them, not what else looks at them."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest
import torch
from observing import observing
from scoring import Scores, counts, functions, observed
from torch import nn
from torch.jit import _builtins
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from tuimon.agent.loss import readings
from tuimon.records.criterion import ClassCounts, Evaluation


def evaluated(
    scores: torch.Tensor, target: torch.Tensor, context: AbstractContextManager[Any] | None = None
) -> ClassCounts | None:
    """The labels of a validation pass over these, within a context."""
    with observing(nn.Linear(3, 2).eval()) as seen, torch.no_grad(), context or nullcontext():
        F.cross_entropy(scores, target)
    (one,) = [record for record in seen.records if isinstance(record, Evaluation)]
    return one.criteria[0].labels


class Labelled(torch.Tensor):
    """A class of tensors that only carries a name around, as fastai's do."""


def test_tensors_of_a_class_of_their_own_that_leaves_operations_alone() -> None:
    target = torch.randint(3, (8,)).as_subclass(Labelled)
    scores = torch.randn(8, 3)
    (term,) = observed(scores, lambda z: F.cross_entropy(z.as_subclass(Labelled), target))
    plain = target.as_subclass(torch.Tensor)
    assert evaluated(scores.as_subclass(Labelled), target) == counts(plain)
    assert term.value == float(F.cross_entropy(scores, plain))
    assert (term.labels, term.predictions) == (counts(plain), counts(scores.argmax(1)))


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_functions_can_be_scripted_and_traced_meanwhile() -> None:
    def loss(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return F.mse_loss(a, b) + F.binary_cross_entropy_with_logits(a, b)

    x, y = torch.rand(4), torch.rand(4)
    known = dict(_builtins._get_builtin_table())
    with observing(nn.Linear(3, 2)):
        scripted, traced = torch.jit.script(loss), torch.fx.symbolic_trace(loss)
        assert scripted(x, y) == traced(x, y) == loss(x, y)
    assert scripted(x, y) == traced(x, y) == loss(x, y)
    assert torch.jit.script(plain_loss)(x, y) == F.mse_loss(x, y)
    assert _builtins._get_builtin_table() == known


def plain_loss(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return F.mse_loss(a, b)


def test_a_default_device_and_modes_that_look_at_functions_see_nothing_of_it() -> None:
    seen: list[str] = []

    class Looking(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            seen.append(getattr(func, "__name__", ""))
            return func(*args, **(kwargs or {}))

    scores, target = torch.randn(8, 3), torch.randint(3, (8,))

    def loss(z: torch.Tensor) -> torch.Tensor:
        with Looking():
            return F.cross_entropy(z, target)

    loss(scores)
    bare, seen[:] = list(seen), []
    (term,) = observed(scores, loss)
    assert seen == bare
    assert term.judged == 8
    seen.clear()
    assert evaluated(scores, target, Looking()) == counts(target)
    assert seen == bare


def test_what_is_no_number_of_its_own_is_left_alone() -> None:
    model = nn.Linear(3, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x, y = torch.randn(4, 3), torch.rand(4, 2)
    with observing(model) as seen:
        torch.vmap(F.mse_loss)(x, x)  # a batch's stand-in
        F.mse_loss(model(x), y).backward()
        with FlopCounterMode(display=False):
            F.l1_loss(model(x), y).backward()
        optimizer.step()
    assert [term.name for term in seen.samples[0].criteria] == ["mse_loss"]


def test_an_unreadable_call_ends_this_probe_only(monkeypatch: pytest.MonkeyPatch) -> None:
    bare = functions()

    def fail(*args: object) -> None:
        raise ZeroDivisionError("on purpose")

    monkeypatch.setattr(readings, "read_labels", fail)
    model = nn.Linear(3, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with observing(model) as seen:
        for _ in range(2):
            F.mse_loss(model(torch.randn(4, 3)), torch.rand(4, 2)).backward()
            optimizer.step()
            assert functions() == bare
        assert seen.agent.window.criteria.status() == "gave up: ZeroDivisionError: on purpose"
    assert [sample.criteria for sample in seen.samples] == [(), ()]
    assert all(sample.loss is not None for sample in seen.samples)
    told = {"criteria": "ZeroDivisionError: on purpose"}
    assert [sample.trouble for sample in seen.samples] == [told, {}]


def test_the_functions_are_restored() -> None:
    bare = functions()
    model = nn.Linear(3, 2)
    for _ in range(2):
        with observing(model):
            assert all(ours is not theirs for ours, theirs in zip(functions(), bare, strict=True))
        assert all(now is before for now, before in zip(functions(), bare, strict=True))


def test_a_function_that_somebody_else_wrapped_meanwhile_stays() -> None:
    bare = torch._C._nn.mse_loss
    calls: list[int] = []
    with observing(nn.Linear(3, 2)):
        ours = torch._C._nn.mse_loss

        def theirs(*args: Any) -> Any:
            calls.append(1)
            return ours(*args)

        torch._C._nn.mse_loss = theirs
    try:
        assert torch._C._nn.mse_loss is theirs
        assert float(F.mse_loss(torch.zeros(2), torch.ones(2))) == 1.0
        assert calls == [1]
    finally:
        torch._C._nn.mse_loss = bare


def test_no_tensor_is_kept() -> None:
    model = Scores(torch.randn(6, 4))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with observing(model) as seen:
        out, target = model(), torch.randint(4, (6,))
        loss = F.cross_entropy(out, target)
        dead = [weakref.ref(one) for one in (out, target, loss)]
        loss.backward()
        del out, target, loss
        assert [one() for one in dead] == [None, None, None]
        optimizer.step()
        with torch.no_grad():
            F.cross_entropy(model(), torch.randint(4, (6,)))
    assert len(seen.samples) == 1


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    yield
    assert not any(hasattr(one, "__wrapped__") for one in functions())
