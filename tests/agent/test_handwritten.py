"""Trainings without an optimizer of torch."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest
import torch
from observing import A, G, Observed, assert_describes, observing
from torch import nn
from torch.autograd import grad

from tuimon.agent import agent as agent_module
from tuimon.agent.stepping.engine import ENGINE
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


def test_the_counter_between_windows_is_all_there_is_and_is_taken_away() -> None:
    model = mlp()
    parameters = list(model.parameters())
    bare = getattr(torch.autograd, ENGINE)
    with observing(model, every=4) as seen:
        for step, x in enumerate(batches(14)):
            hooked = sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())
            # Before a window what waits for its first forward, in it all, else nothing on any module.
            if step > 1:
                assert hooked == {0: 1, 1: 1 + 2 + 3}.get((step - 1) % 4, 0)
            assert getattr(torch.autograd, ENGINE) is not bare
            model(x).square().mean().backward()
            minus(parameters)
    assert len(seen.samples) == 3
    assert getattr(torch.autograd, ENGINE) is bare
    assert sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()) == 0


def test_it_gives_way_to_an_optimizer_of_torch() -> None:
    model = mlp()
    bare = getattr(torch.autograd, ENGINE)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with observing(model, every=3) as seen:
        outside = []
        for x in batches(9):
            outside.append(getattr(torch.autograd, ENGINE) is bare)
            optimizer.zero_grad()
            model(x).square().mean().backward()
            optimizer.step()
        # Wrapped in windows only, as if there had never been anything to look for.
        assert outside == [i % 3 != 0 for i in range(9)]
    assert [sample.step for sample in seen.samples] == [1, 4, 7]
    assert {sample.lr for sample in seen.samples} == {(0.1,)}


def test_a_warm_up_by_hand_before_an_optimizer_takes_over() -> None:
    model = mlp()
    parameters = list(model.parameters())
    optimizer = torch.optim.SGD(parameters, lr=0.1)
    losses = []
    with observing(model) as seen:
        for i, x in enumerate(batches(10)):
            loss = model(x).square().mean()
            loss.backward()
            losses.append(loss.item())
            if i < 5:
                minus(parameters)
            else:
                optimizer.step()
                optimizer.zero_grad()
    # The first is what it is found by.
    assert seen.losses == losses[1:]
    assert [sample.step for sample in seen.samples] == list(range(1, 10))
    assert [sample.lr for sample in seen.samples] == [(None,)] * 4 + [(0.1,)] * 5


def test_lbfgs_moves_parameters_within_its_step_and_is_no_handwriting() -> None:
    model = mlp()
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=5)
    x = torch.randn(6, 4)
    kept = contextlib.ExitStack()
    seen: list[Observed] = []

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss: torch.Tensor = model(x).square().mean()
        loss.backward()
        if not seen:  # a watch that begins in the middle of a step
            seen.append(kept.enter_context(observing(model)))
        return loss

    with kept:
        for _ in range(3):
            optimizer.step(closure)  # type: ignore[arg-type]
    assert seen[0].agent.optimizers.names() == ("LBFGS",)
    assert [sample.step for sample in seen[0].samples] == [1, 2, 3]


def test_parameters_moved_inside_of_backward() -> None:
    model = mlp()

    def step(p: torch.Tensor) -> None:
        assert p.grad is not None
        with torch.no_grad():
            p -= RATE * p.grad
        p.grad = None

    for p in model.parameters():
        p.register_post_accumulate_grad_hook(step)
    losses, ratios = [], []
    with observing(model) as seen:
        for x in batches(6):
            loss = model(x).square().mean()
            losses.append(loss.item())
            old = model[0].weight.detach().clone()
            loss.backward()
            ratios.append(float((model[0].weight.detach() - old).norm() / old.norm()))
    # It shows when backward ends, so the last step is there, too.
    assert seen.losses == losses[1:]
    for sample, ratio in zip(seen.samples, ratios[1:], strict=True):
        stats = seen.stats(sample)
        assert stats["0.weight", TensorKind.WEIGHT].update_ratio == pytest.approx(ratio, rel=1e-4)
        # Gone when it could be looked at.
        assert sample.grad_norm is None
        assert stats["0", A].sketch.n == 6 * 8


def test_turns_of_two_models_are_steps_of_their_own_with_their_own_gradients() -> None:
    generator, critic = mlp(), nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))
    losses = []
    with observing({"g": generator, "d": critic}) as seen:
        for x in batches(4):
            loss = critic(generator(x).detach()).mean()
            loss.backward()
            losses.append(loss.item())
            minus(list(critic.parameters()))
            loss = -critic(generator(x)).mean()
            loss.backward()
            losses.append(loss.item())
            minus(list(generator.parameters()))
            for p in critic.parameters():
                p.grad = None
    assert seen.losses == losses[1:-1]
    for sample in seen.samples:
        models = {name.partition(".")[0] for name in seen.names(TensorKind.GRADIENT, sample)}
        assert models == ({"g"} if sample.step % 2 else {"d"})


def test_a_model_whose_forward_is_never_called_as_one() -> None:
    model = mlp()
    losses = []
    with observing(model) as seen:
        for x in batches(6):
            loss = model.forward(x).square().mean()
            loss.backward()
            losses.append(loss.item())
            minus(list(model.parameters()))
    assert seen.losses == losses[1:5]
    for sample in seen.samples:
        assert seen.stats(sample)["0", A].sketch.n == 6 * 8


def test_evaluation_between_the_steps() -> None:
    model = mlp()
    losses = []
    with observing(model) as seen:
        for x in batches(6):
            loss = model(x).square().mean()
            loss.backward()
            losses.append(loss.item())
            minus(list(model.parameters()))
            model.eval()
            with torch.no_grad():
                model(torch.randn(50, 4))
            model.train()
    # Here a step shows as soon as the evaluation begins.
    assert seen.losses == losses[1:]
    for sample in seen.samples:
        assert seen.stats(sample)["0", A].sketch.n == 6 * 8


def test_backward_alone_is_no_step() -> None:
    model = mlp()
    with observing(model) as seen:
        for x in batches(8):
            model(x).square().mean().backward()
    assert seen.records == []


def test_gradients_asked_for_twice_were_added_up_elsewhere() -> None:
    model = mlp()
    parameters, means = list(model.parameters()), []
    with observing(model) as seen:
        for _ in range(5):
            several, losses = [], []
            for x in batches(2):
                loss = model(x).square().mean()
                losses.append(loss.item())
                several.append(grad(loss, parameters))
            means.append(sum(losses) / 2)
            with torch.no_grad():
                for p, *gradients in zip(parameters, *several, strict=True):
                    p -= RATE * sum(gradients)
    assert seen.losses == pytest.approx(means[1:4], rel=2.0**-23)
    for sample in seen.samples:
        # What was applied is not known; each tensor of the last microbatch is.
        assert (sample.grad_norm, sample.grad_norm_preclip) == (None, None)
        assert seen.stats(sample)["0.weight", TensorKind.GRADIENT].sketch.n == 32


@pytest.mark.parametrize("watched", ["wrapper", "model"])
def test_a_model_that_was_compiled_before_is_not_compiled_again(watched: str) -> None:
    torch._dynamo.reset()
    counted: list[int] = []

    def backend(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Callable[..., object]:
        counted.append(1)
        return graph.forward

    model, losses = mlp(), []
    compiled = torch.compile(model, backend=backend)

    def train(steps: int) -> None:
        for x in batches(steps):
            loss = compiled(x).square().mean()
            loss.backward()
            losses.append(loss.item())
            minus(list(model.parameters()))

    train(3)
    with observing(compiled if watched == "wrapper" else model, every=2) as seen:
        train(9)
    assert counted == [1]
    assert len(seen.samples) >= 3
    # Forwards of the model itself are not seen in compiled code: such a step shows in the next backward.
    assert all(sample.loss in losses and sample.grad_norm is not None for sample in seen.samples)


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("style", [minus, data_and_zero])
def test_watched_or_not_it_computes_the_same(style: Callable[[Parameters], None], every: int) -> None:
    left = []
    for watched in (False, True):
        torch.manual_seed(5)
        model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.3), nn.Linear(8, 2))
        with observing(model, every=every) if watched else contextlib.nullcontext():
            for x in batches(20):
                model(x).square().mean().backward()
                nn.utils.clip_grad_norm_(list(model.parameters()), 0.1)
                style(list(model.parameters()))
        left.append([*(p.detach().clone() for p in model.parameters()), torch.get_rng_state()])
    assert all(torch.equal(bare, watched) for bare, watched in zip(*left, strict=True))


def test_a_model_that_changes_its_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_module, "STOCKTAKING_S", 0.0)
    model, norms = mlp(), []
    with observing(model) as seen:
        for i, x in enumerate(batches(10)):
            if i == 5:
                model.double()
            model(x.to(model[0].weight.dtype)).square().mean().backward()
            norms.append(float(sum(p.grad.double().square().sum() for p in model.parameters())) ** 0.5)
            minus(list(model.parameters()))
    told = [sample.grad_norm for sample in seen.samples]
    assert all(any(norm == pytest.approx(n, rel=1e-5) for n in norms) for norm in told if norm is not None)
    assert told[-1] == pytest.approx(norms[-2], rel=1e-12)
    dtypes = {seen.layout(seen.samples[-1]).tensors[row].dtype for row in seen.samples[-1].tensors.rows}
    assert dtypes == {"float64"}
