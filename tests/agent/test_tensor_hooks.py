"""Hooks on gradients that leave nothing at the tensor, and nobody else's hooks out."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tuimon.agent.reading import tensor_hooks
from tuimon.agent.reading.tensor_hooks import GradientHook, attach


@pytest.fixture(params=["quick", "torch's own"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param != "quick":
        monkeypatch.setattr(tensor_hooks, "quick", lambda: False)
    return str(request.param)


def collecting() -> tuple[list[torch.Tensor], dict[int, GradientHook]]:
    seen: list[torch.Tensor] = []

    def see(gradient: torch.Tensor | None) -> None:
        if gradient is not None:
            seen.append(gradient.clone())

    return seen, {0: see}


def test_this_torch_takes_the_quick_way() -> None:
    assert tensor_hooks.quick.__wrapped__()


@pytest.mark.parametrize("error", [AttributeError("gone"), RuntimeError("no more")])
def test_a_torch_that_knows_it_not_goes_the_long_way(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    class Node:
        def __getattr__(self, name: str) -> Any:
            raise error

    monkeypatch.setattr(torch.Tensor, "grad_fn", Node())
    assert not tensor_hooks.quick.__wrapped__()


def test_hooks_of_the_users_stay_and_do_what_they_did(way: str) -> None:
    x = torch.randn(4, 3, requires_grad=True)

    def gradient(watched: bool) -> tuple[torch.Tensor, list[torch.Tensor]]:
        seen, hooks = collecting()
        y = x * 2
        y.register_hook(lambda g: g + 1)  # before ours
        if watched:
            attach(y, hooks)
        y.register_hook(lambda g: g * 3)  # after it
        y.relu_()  # what comes now belongs to another node
        y.register_hook(lambda g: g * 5)
        y.retain_grad()
        (y * y.detach()).sum().backward()
        assert y.grad is not None
        result, x.grad = x.grad, None
        assert result is not None
        return result, seen

    bare, _ = gradient(False)
    watched, seen = gradient(True)
    assert torch.equal(bare, watched)
    assert len(seen) == 1


def test_the_tensor_is_left_as_it_was(way: str) -> None:
    seen, hooks = collecting()
    y = torch.randn(3, requires_grad=True) * 2
    attach(y, hooks)
    assert y._backward_hooks is None
    assert not y.retains_grad
    y.sum().backward()
    assert [g.tolist() for g in seen] == [[1.0] * 3]
    assert list(hooks) == [0], "the user's hooks never come into this dictionary"


def test_before_something_writes_over_the_tensor_and_of_several_outputs_the_right_one(way: str) -> None:
    seen, hooks = collecting()
    x = torch.tensor([[-1.0, 2.0, 3.0]], requires_grad=True)
    _, b, _ = (x * 1).chunk(3, 1)
    y = b * 1
    attach(b, hooks)
    attach(y, hooks)
    y.mul_(7).relu_()
    (y * 3).sum().backward()
    assert [g.tolist() for g in seen] == [[[21.0]], [[21.0]]]


def test_one_dictionary_serves_many_calls_and_outputs_that_get_no_gradient(way: str) -> None:
    seen, hooks = collecting()
    x = torch.ones(2, requires_grad=True)
    parts = (x * 1).chunk(2)
    for part in parts:
        attach(part, hooks)
    parts[1].backward()
    assert [g.tolist() for g in seen] == [[1.0]]
    for i in range(3):
        y = x * i
        attach(y, hooks)
        y.sum().backward()
    assert len(seen) == 4


def test_a_function_written_in_python(way: str) -> None:
    class Double(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            return x * 2

        @staticmethod
        def backward(ctx: Any, *gradients: Any) -> Any:
            return gradients[0] * 2

    seen, hooks = collecting()
    y: torch.Tensor = Double.apply(torch.ones(2, requires_grad=True))  # type: ignore[no-untyped-call]
    attach(y, hooks)
    (y * 4).sum().backward()
    assert [g.tolist() for g in seen] == [[4.0, 4.0]]
