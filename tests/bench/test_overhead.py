"""The overhead bench: its arithmetic, its twins, and a round of a cell that nobody watches."""

from __future__ import annotations

import math
from collections import OrderedDict

import pytest
import torch
from torch.optim import optimizer as torch_optimizer

from bench.handwritten import HandwrittenHooks
from bench.originals import Originals
from bench.overhead_cell import MODES, Cell, check_watched
from bench.ratios import Block, pair_ratios, quantile, summary, total_ratio
from bench.workloads import WORKLOADS, Training, seeded
from tuimon.agent.stepping.engine import ENGINE
from tuimon.agent.watcher import current


def block(watched: bool, steps: int, cpu_s: float) -> Block:
    return Block(watched, steps, cpu_s, wall_s=2 * cpu_s)


ABBA = [block(False, 4, 4.0), block(True, 2, 3.0), block(True, 1, 2.0), block(False, 2, 1.0)]


def test_a_ratio_is_watched_over_bare_per_step_in_either_order() -> None:
    assert pair_ratios(ABBA, "cpu") == [1.5, 4.0]


def test_wall_time_is_judged_by_its_own_clock() -> None:
    blocks = [Block(False, 1, 1.0, 2.0), Block(True, 1, 1.0, 6.0)]
    assert pair_ratios(blocks, "wall") == [3.0]
    assert total_ratio(blocks, "wall") == 3.0


@pytest.mark.parametrize("blocks", [[ABBA[1], ABBA[2]], [ABBA[0], ABBA[3]]])
def test_a_pair_of_one_kind_is_refused(blocks: list[Block]) -> None:
    with pytest.raises(ValueError, match="one watched and one bare"):
        pair_ratios(blocks, "cpu")


def test_an_odd_block_is_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        pair_ratios(ABBA[:3], "cpu")


def test_the_total_weighs_each_step_alike() -> None:
    assert total_ratio(ABBA, "cpu") == (5.0 / 3) / (5.0 / 6)


def test_the_total_shows_a_cost_that_the_median_hides() -> None:
    pairs = [[block(False, 1, 1.0), block(True, 1, cost)] for cost in (1.0, 1.0, 4.0)]
    blocks = [one for pair in pairs for one in pair]
    assert summary(pair_ratios(blocks, "cpu")).p50 == 1.0
    assert total_ratio(blocks, "cpu") == 2.0


@pytest.mark.parametrize(("q", "expected"), [(0.0, 1.0), (0.2, 1.8), (0.5, 3.0), (0.8, 4.2), (1.0, 5.0)])
def test_quantiles_lie_between_neighbours(q: float, expected: float) -> None:
    assert quantile([5.0, 1.0, 4.0, 2.0, 3.0], q) == pytest.approx(expected, rel=2.0**-50)


def test_the_quantiles_of_little() -> None:
    assert quantile([7.0], 0.2) == 7.0
    assert math.isnan(quantile([], 0.5))
    assert summary([2.0, 4.0]).n == 2


@pytest.mark.parametrize("name", WORKLOADS)
def test_two_of_a_workload_are_twins(name: str) -> None:
    one, other = seeded(name), seeded(name)
    for training in (one, other):
        for _ in range(2):
            loss = training.step()
        assert math.isfinite(loss.item())
    for mine, theirs in zip(one.model.parameters(), other.model.parameters(), strict=True):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize(
    ("name", "leaf_bytes"),
    [("mlp", 4 * 128 * (4 * 1024 + 10)), ("deep", 4 * 128 * 100 * 64)],
)
def test_the_leaves_put_out_what_the_floor_is_computed_from(name: str, leaf_bytes: int) -> None:
    training, found = seeded(name), 0

    def add(module: torch.nn.Module, args: object, output: torch.Tensor) -> None:
        nonlocal found
        found += output.numel() * output.element_size()

    for module in training.model.modules():
        if not any(module.children()):
            module.register_forward_hook(add)
    training.step()
    assert found == leaf_bytes


def test_hand_written_hooks_yield_all_five_statistics() -> None:
    training = seeded("mlp")
    before = training.model[4].weight.detach().clone()
    hooks = HandwrittenHooks(training.model, training.optimizer)
    training.step()
    (seen,) = hooks.steps
    weight = training.model[4].weight
    assert seen["4.weight.grad_norm"] == weight.grad.norm().item() > 0
    assert seen["4.weight.update_ratio"] == ((weight - before).norm() / before.norm()).item() > 0
    assert sum(seen["4.weight.gradient"]) == weight.numel()
    assert sum(seen["1.activation"]) == 128 * 1024
    assert 0.3 < seen["1.zero_ratio"] < 0.7
    hooks.close()
    training.step()
    assert len(hooks.steps) == 1


def test_the_bare_twin_steps_as_if_nobody_watched() -> None:
    cell = Cell("mlp", MODES["every1"])
    try:
        cell.watched.step()
        # What an agent puts there today: if it finds another way, `Originals` must know the place.
        assert {
            (torch.autograd, ENGINE),
            (torch._C._nn, "cross_entropy_loss"),
            (torch_optimizer, "_global_optimizer_pre_hooks"),
            (torch_optimizer, "_global_optimizer_post_hooks"),
            (torch.amp.GradScaler, "scale"),
        } <= set(cell.originals.replaced())
        watcher = current()
        assert watcher is not None
        agent = watcher.agent
        before = agent.samples, agent.optimizers.steps, agent.window.losses.microbatches, agent.meter.calls
        with cell.originals.back():
            assert cell.originals.replaced() == []
            cell.bare.step()
        cell.warm(steps=0)
        after = agent.samples, agent.optimizers.steps, agent.window.losses.microbatches, agent.meter.calls
        assert after == before
        assert agent.window.criteria.criteria() == ()
        cell.watched.step()
        assert agent.samples == before[0] + 1
    finally:
        cell.watched_steps = 2
        cell.close()


def test_each_bare_step_of_a_round_is_bare(monkeypatch: pytest.MonkeyPatch) -> None:
    cell = Cell("mlp", MODES["every1"])
    found: list[tuple[bool, bool]] = []

    def step(training: Training, steps: int) -> None:
        found.append((training is cell.bare, bool(cell.originals.replaced())))
        for _ in range(steps):
            training.step()

    monkeypatch.setattr("bench.overhead_cell._steps", step)
    cell.warm(steps=1)
    next(cell.rounds(steps=1))
    cell.close()
    assert {watched for bare, watched in found if bare} == {False}
    assert all(watched for bare, watched in found[1:] if not bare)


def test_what_a_monitor_replaces_is_back_and_then_away_again(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    originals, hook = Originals(), lambda *_: calls.append("after")
    original = getattr(torch.autograd, ENGINE)

    def backward(*args: object, **kwargs: object) -> object:
        calls.append("backward")
        return original(*args, **kwargs)

    monkeypatch.setattr(torch.autograd, ENGINE, backward)
    monkeypatch.setattr(torch_optimizer, "_global_optimizer_post_hooks", OrderedDict({0: hook}))
    training = seeded("mlp")
    with pytest.raises(KeyboardInterrupt), originals.back():
        training.step()
        raise KeyboardInterrupt
    assert calls == []
    training.step()
    assert calls == ["backward", "after"]


@pytest.mark.parametrize(("every", "steps"), [(1, 10), (4, 12), (7, 14), (30, 60)])
def test_a_block_holds_whole_periods(every: int, steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    cell = Cell("mlp", MODES["none"])
    cell.mode = MODES["budget"]
    monkeypatch.setattr("bench.overhead_cell._ask", lambda: {"every": every})
    assert cell.whole_periods(10) == steps


@pytest.mark.parametrize(("told", "every"), [({"steps": 50}, None), ({"steps": 50, "samples": 49}, 1)])
def test_an_agent_that_gave_up_yields_no_figures(told: dict[str, int], every: int | None) -> None:
    with pytest.raises(SystemExit, match="did not watch to the end"):
        check_watched(told, every)


@pytest.mark.parametrize(("samples", "every"), [(50, 1), (16, 3), (2, None)])
def test_an_agent_that_watched_does(samples: int, every: int | None) -> None:
    check_watched({"steps": 50, "samples": samples}, every)


@pytest.mark.parametrize("mode", ["none", "handwritten"])
def test_a_round_is_bare_watched_watched_bare(mode: str) -> None:
    cell = Cell("mlp", MODES[mode])
    assert cell.warm(steps=1) > 0
    blocks = next(cell.rounds(steps=2))
    assert [one.watched for one in blocks] == [False, True, True, False]
    assert all(one.steps == 2 and one.cpu_s > 0 and one.wall_s > 0 for one in blocks)
    # One to warm up, three at the start of the turn, two blocks of two.
    assert cell.close() == {"steps": 8}
