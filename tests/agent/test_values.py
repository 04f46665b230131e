"""What a sample says equals what plain slow instrumentation of the same step sees."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from observing import A, G, Observed, assert_describes, observing, rounding
from torch import nn

from tuimon.agent.reading.points import limits_of
from tuimon.agent.reading.rows import DEAD_WINDOW_SHORTEST
from tuimon.records.layout import TensorKind

#: Relative error of a norm over tensors of at most 128 elements: half of that of its square.
ADDED = rounding(128) / 2


class Plain:
    """Outputs and their gradients by module, copied: what everybody would write by hand."""

    def __init__(self, model: nn.Module) -> None:
        self.order: list[str] = []
        self.outputs: dict[str, torch.Tensor] = {}
        self.gradients: dict[str, torch.Tensor] = {}
        for name, module in model.named_modules():
            if not list(module.children()):
                module.register_forward_hook(self._hook(name))

    def _hook(self, name: str) -> Callable[[nn.Module, object, torch.Tensor], None]:
        def note(module: nn.Module, args: object, output: torch.Tensor) -> None:
            self.order.append(name)
            self.outputs[name] = output.detach().clone()
            output.register_hook(lambda gradient: self.gradients.update({name: gradient.clone()}))

        return note


class Crossed(nn.Module):
    """Runs its layers in another order than it registers them."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(12, 3)
        self.act = nn.Tanh()
        self.first = nn.Linear(5, 12)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.last(self.act(self.first(x)))
        return out


def norm(tensors: list[torch.Tensor]) -> float:
    return math.sqrt(sum(float((t.double() ** 2).sum()) for t in tensors))


def gradients(model: nn.Module) -> list[torch.Tensor]:
    return [p.grad.clone() for p in model.parameters() if p.grad is not None]


def step(model: nn.Module, optimizer: torch.optim.Optimizer, x: torch.Tensor) -> torch.Tensor:
    loss: torch.Tensor = model(x).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss


def test_every_tensor_of_a_step_is_described() -> None:
    model = Crossed()
    plain, optimizer = Plain(model), torch.optim.SGD(model.parameters(), lr=0.1)
    with observing(model) as seen:
        for _ in range(3):
            plain.order.clear()
            x = torch.randn(7, 5)
            step(model, optimizer, x)
            stats = seen.stats()
            for name, parameter in model.named_parameters():
                assert parameter.grad is not None
                assert_describes(stats[name, TensorKind.GRADIENT].sketch, parameter.grad)
                assert_describes(stats[name, TensorKind.WEIGHT].sketch, parameter)
            for name in plain.outputs:
                assert_describes(stats[name, A].sketch, plain.outputs[name])
                assert_describes(stats[name, G].sketch, plain.gradients[name])
            assert_describes(stats["input", TensorKind.INPUT].sketch, x)
            assert list(seen.layers()) == plain.order == ["first", "act", "last"]
    assert len(seen.samples) == 3


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_other_types_too(dtype: torch.dtype) -> None:
    model = nn.Sequential(nn.Linear(6, 9), nn.Tanh(), nn.Linear(9, 2)).to(dtype)
    plain, optimizer = Plain(model), torch.optim.SGD(model.parameters(), lr=0.1)
    with observing(model) as seen:
        step(model, optimizer, torch.randn(4, 6, dtype=dtype))
    stats = seen.stats()
    for name in plain.outputs:
        assert_describes(stats[name, A].sketch, plain.outputs[name])
        assert_describes(stats[name, G].sketch, plain.gradients[name])
    for name, parameter in model.named_parameters():
        assert_describes(stats[name, TensorKind.WEIGHT].sketch, parameter)


def test_loss_and_learning_rates() -> None:
    model = nn.Linear(4, 2)
    groups = [{"params": [model.weight], "lr": 0.5}, {"params": [model.bias], "lr": torch.tensor(0.25)}]
    optimizer = torch.optim.SGD(groups)
    rates = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    with observing(model) as seen:
        losses = []
        for _ in range(3):
            losses.append(step(model, optimizer, torch.randn(3, 4)).item())
            rates.step()
    assert seen.losses == losses
    assert [sample.lr for sample in seen.samples] == [(0.5, 0.25), (0.25, 0.125), (0.125, 0.0625)]


@pytest.mark.parametrize(
    "clip",
    [
        lambda parameters: nn.utils.clip_grad_norm_(parameters, 1e-3),
        lambda parameters: nn.utils.clip_grad_norm_(parameters, 1e-3, foreach=False),
        lambda parameters: nn.utils.clip_grad_value_(parameters, 1e-3),
    ],
    ids=["norm", "norm one by one", "value"],
)
def test_gradient_norm_before_and_after_clipping(clip: Callable[[object], object]) -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    optimizer = torch.optim.Adam(model.parameters())
    expected = []
    with observing(model) as seen:
        for _ in range(4):
            optimizer.zero_grad()
            model(torch.randn(3, 4)).square().sum().backward()
            before = norm(gradients(model))
            clip(model.parameters())
            expected.append((before, norm(gradients(model))))
            optimizer.step()
    assert [s.grad_norm for s in seen.samples] == pytest.approx([b for _, b in expected], rel=ADDED)
    assert [s.grad_norm_preclip for s in seen.samples] == pytest.approx([a for a, _ in expected], rel=ADDED)
    assert all(a > 2 * b for a, b in expected)


def test_without_clipping_both_norms_are_the_same() -> None:
    model = nn.Linear(4, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with observing(model) as seen:
        for _ in range(4):
            step(model, optimizer, torch.randn(3, 4))
            assert seen.samples[-1].grad_norm == pytest.approx(norm(gradients(model)), rel=ADDED)
            assert seen.samples[-1].grad_norm_preclip == seen.samples[-1].grad_norm


def test_clipping_that_begins_in_mid_run_is_never_told_wrong() -> None:
    model = nn.Linear(4, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with observing(model) as seen:
        for i in range(8):
            optimizer.zero_grad()
            model(torch.randn(3, 4)).square().sum().backward()
            before = norm(gradients(model))
            if i >= 4:
                nn.utils.clip_grad_norm_(model.parameters(), 1e-3)
            optimizer.step()
            told = seen.samples[-1].grad_norm_preclip
            # In the step in which it begins nothing was read before: unknown, not equal to after.
            assert told is None if i == 4 else told == pytest.approx(before, rel=ADDED)


def test_update_ratios_of_small_tensors_are_exact() -> None:
    model = nn.Sequential(nn.Linear(6, 10), nn.Tanh(), nn.Linear(10, 3))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    with observing(model) as seen:
        for _ in range(3):
            before = {name: p.detach().double().clone() for name, p in model.named_parameters()}
            step(model, optimizer, torch.randn(5, 6))
            stats = seen.stats()
            for name, p in model.named_parameters():
                ratio = float((p.detach().double() - before[name]).norm() / before[name].norm())
                assert stats[name, TensorKind.WEIGHT].update_ratio == pytest.approx(ratio, rel=ADDED)
                assert stats[name, TensorKind.GRADIENT].update_ratio is None


def test_update_ratio_of_a_large_tensor_is_a_good_estimate() -> None:
    model = nn.Linear(300, 200)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with observing(model) as seen:
        before = model.weight.detach().double().clone()
        step(model, optimizer, torch.randn(50, 300))
    exact = float((model.weight.detach().double() - before).norm() / before.norm())
    told = seen.stats()["weight", TensorKind.WEIGHT].update_ratio
    # Two norms from 1024 elements each: their relative deviation is about 1 / sqrt(2 * 1024) = 2.2 %,
    # of the quotient 3.1 %; seven of these.
    assert told == pytest.approx(exact, rel=7 * math.sqrt(2 / (2 * 1024)))
    assert told != exact


class Silenced(nn.Module):
    """Two hidden layers of 8 whose units 0..2 and 0..4 never pass anything on; the second ReLU is a call."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.relu = nn.Linear(4, 8), nn.ReLU()
        self.second, self.last = nn.Linear(8, 8), nn.Linear(8, 2)
        with torch.no_grad():
            for layer, dead in ((self.first, 3), (self.second, 5)):
                layer.bias.fill_(5.0)
                layer.bias[:dead] = -100.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.last(torch.relu(self.second(self.relu(self.first(x)))))
        return out


def test_dead_units_behind_a_module_and_behind_a_call() -> None:
    model = Silenced()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with observing(model) as seen:
        for _ in range(DEAD_WINDOW_SHORTEST + 4):
            step(model, optimizer, torch.randn(6, 4).clamp(-1, 1))
    told = {i: seen.stats(s)["relu", A].dead_ratio for i, s in enumerate(seen.samples)}
    # The tables are made in the first step; that one does not count.
    assert [i for i, ratio in told.items() if ratio is None] == list(range(DEAD_WINDOW_SHORTEST))
    stats = seen.stats()
    assert stats["relu", A].dead_ratio == 3 / 8
    assert stats["second", A].dead_ratio == 5 / 8
    # These give no positive outputs in part, but the gradient gets through: not dead.
    assert stats["last", A].dead_ratio == 0.0
    assert seen.samples[-1].dead_window == DEAD_WINDOW_SHORTEST + 3


def test_a_unit_that_wakes_once_in_the_window_is_alive() -> None:
    model = Silenced()
    with torch.no_grad():
        model.first.weight[[0, 2]] = 0.0
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with observing(model) as seen:
        for i in range(DEAD_WINDOW_SHORTEST + 4):
            x = torch.randn(6, 4).clamp(-1, 1)
            if i == 3:
                x[2] = torch.sign(model.first.weight[1].detach()) * 1e4
            step(model, optimizer, x)
    assert seen.stats()["relu", A].dead_ratio == 2 / 8


@pytest.mark.parametrize(
    ("module", "steepest"),
    [(nn.Tanh(), 1.0), (nn.Sigmoid(), 0.25), (nn.Softsign(), 1.0)],
    ids=["tanh", "sigmoid", "softsign"],
)
def test_saturated_where_the_derivative_is_small(module: nn.Module, steepest: float) -> None:
    seen, out, x = saturation_of(module, 6.0)
    limits = limits_of(module)
    assert limits is not None
    expected = (out <= limits[0]) | (out >= limits[1])
    (slope,) = torch.autograd.grad(module(x).sum(), x)
    # Elements on the border itself may fall either way in float32.
    clear = (slope - 0.05 * steepest).abs() > 1e-4
    assert torch.equal(expected[clear], (slope < 0.05 * steepest)[clear])
    assert seen.stats()["1", A].saturated_ratio == float(expected.double().mean())
    assert 0.05 < float(expected.double().mean()) < 0.95


@pytest.mark.parametrize(
    ("module", "at_limit"),
    [
        (nn.Hardtanh(), lambda y: y.abs() == 1.0),
        (nn.Hardtanh(-0.5, 2.0), lambda y: (y == -0.5) | (y == 2.0)),
        (nn.ReLU6(), lambda y: y == 6.0),
        (nn.Hardsigmoid(), lambda y: (y == 0.0) | (y == 1.0)),
    ],
    ids=["hardtanh", "hardtanh of other limits", "relu6", "hardsigmoid"],
)
def test_saturated_where_a_hard_activation_ends(
    module: nn.Module, at_limit: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    seen, out, _ = saturation_of(module, 6.0)
    share = float(at_limit(out).double().mean())
    assert seen.stats()["1", A].saturated_ratio == share
    assert 0.01 < share < 0.99


def test_a_softmax_is_saturated_by_rows() -> None:
    seen, out, _ = saturation_of(nn.Softmax(dim=-1), 6.0)
    limits = limits_of(nn.Softmax(dim=-1))
    assert limits is not None
    share = float((out.max(dim=-1).values >= limits[1]).double().mean())
    assert seen.stats()["1", A].saturated_ratio == pytest.approx(share, rel=1e-12)
    assert 0.05 < share < 0.95


def test_what_has_no_limits_has_no_saturation() -> None:
    seen, _, _ = saturation_of(nn.GELU(), 6.0)
    assert {s.saturated_ratio for s in seen.stats().values()} == {None}


def saturation_of(module: nn.Module, spread: float) -> tuple[Observed, torch.Tensor, torch.Tensor]:
    """One step through a wide layer and this activation: what was seen, its output, its input."""
    model = nn.Sequential(nn.Linear(5, 40, bias=False), module)
    with torch.no_grad():
        model[0].weight.copy_(torch.randn(40, 5) * spread / math.sqrt(5))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    x = torch.randn(20, 5)
    with observing(model) as seen:
        step(model, optimizer, x)
    hidden = model[0](x).detach().requires_grad_()
    return seen, module(hidden).detach(), hidden


def test_microbatches_times_and_memory() -> None:
    model = nn.Linear(4, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with observing(model) as seen:
        for _ in range(3):
            step(model, optimizer, torch.randn(3, 4))
    first, *later = seen.samples
    assert first.step_s is None
    for sample in later:
        parts = [getattr(sample.times, f"{part}_s") for part in ("data", "forward", "backward", "optimizer")]
        assert all(part is not None and part >= 0.0 for part in parts)
        assert sample.step_s is not None
        assert sum(parts) <= sample.step_s
        assert sample.rss_bytes is not None
        assert sample.rss_bytes > 10 << 20
        assert (sample.cuda_bytes, sample.loss_scale, sample.skipped) == (None, None, None)
        assert sample.overhead_s is not None
        assert sample.overhead_s > 0.0
    assert [sample.step for sample in seen.samples] == [1, 2, 3]
    assert [sample.index for sample in seen.samples] == [1, 2, 3]
    assert [sample.microbatches for sample in seen.samples] == [1, 1, 1]
