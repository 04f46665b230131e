"""Loss functions observed beside compiled code: nothing is compiled anew, and nothing runs differently."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from observing import observing
from torch import nn
from torch._dynamo.utils import counters
from torch.nn import functional as F

pytestmark = [
    # Of torch's own making, when it compiles.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

X, Y, Z = torch.randn(6, 4), torch.randint(4, (6,)), torch.rand(6, 4)
Loss = Callable[[torch.Tensor], torch.Tensor]
LOSSES: dict[str, Loss] = {
    "cross_entropy": lambda out: F.cross_entropy(out, Y),
    "CrossEntropyLoss": lambda out: nn.CrossEntropyLoss()(out, Y),
    "binary_cross_entropy_with_logits": lambda out: F.binary_cross_entropy_with_logits(out, Z),
    "mse_loss": lambda out: F.mse_loss(out, Z),
    "kl_div": lambda out: F.kl_div(out.log_softmax(1), Z, reduction="batchmean"),
}


@pytest.fixture(autouse=True)
def _reset() -> Iterator[None]:
    torch._dynamo.reset()
    counters.clear()
    yield
    torch._dynamo.reset()


def compiled_so_far() -> tuple[int, int]:
    """Graphs compiled, and breaks in them."""
    return counters["stats"]["unique_graphs"], sum(counters["graph_break"].values())


@pytest.mark.parametrize("early", [True, False], ids=["compiled before", "compiled while observed"])
@pytest.mark.parametrize("name", LOSSES)
def test_a_compiled_loss_is_not_compiled_again(name: str, early: bool) -> None:
    # Of its hooks those on the modules would end up in what is compiled meanwhile: no modules here.
    model = nn.ParameterList([torch.randn(6, 4)])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    @torch.compile(backend="aot_eager")
    def loss(out: torch.Tensor) -> torch.Tensor:
        return LOSSES[name](out)

    def train() -> list[float]:
        losses = []
        for _ in range(3):
            optimizer.zero_grad()
            value = loss(model[0])
            value.backward()
            optimizer.step()
            losses.append(value.item())
        return losses

    if early:
        train()
        assert compiled_so_far() == (1, 0)
    with observing(model) as seen:
        losses = train()
        assert compiled_so_far() == (1, 0)
        status = seen.agent.window.criteria.status()
    train()
    assert compiled_so_far() == (1, 0)
    # The loss is that of backward; what runs inside of compiled code is not seen, and that is said.
    assert seen.losses == losses
    assert [sample.criteria for sample in seen.samples] == [()] * 3
    assert status == "no loss function of torch is called (outside of compiled code)"


def test_the_loss_of_a_compiled_model_is_seen() -> None:
    model = nn.Linear(4, 4)
    compiled: Any = torch.compile(model, backend="aot_eager")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with observing(compiled) as seen:
        for _ in range(2):
            F.cross_entropy(compiled(X), Y).backward()
            optimizer.step()
        assert seen.agent.window.criteria.status() == "on"
    for sample in seen.samples:
        (term,) = sample.criteria
        assert (term.value, term.classes, term.n) == (sample.loss, 4, 6)
