"""Training loops as people write them: what a step is, and which loss belongs to it."""

from __future__ import annotations

import math

import pytest
import torch
from observing import A, G, observing
from torch import nn

from tuimon.agent.stepping.optimizers import MOST_TURNS
from tuimon.records.layout import TensorKind


def mlp(width: int = 8) -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 2))


def loss_of(model: nn.Module, n: int = 6) -> torch.Tensor:
    loss: torch.Tensor = model(torch.randn(n, 4)).square().mean()
    return loss


def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> float:
    loss = loss_of(model)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


@pytest.mark.parametrize("how", ["undivided", "divided", "multiplied"])
@pytest.mark.parametrize("parts", [2, 3])
def test_gradient_accumulation_shows_the_mean_loss(how: str, parts: int) -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    means = []
    with observing(model) as seen:
        for _ in range(3):
            losses = []
            optimizer.zero_grad()
            for _ in range(parts):
                loss = loss_of(model)
                losses.append(loss.item())
                given = {"undivided": loss, "divided": loss / parts, "multiplied": loss * (1 / parts)}[how]
                given.backward()
            optimizer.step()
            means.append(sum(losses) / parts)
            stats = seen.stats()
            # Each microbatch is 6 rows of 8 units.
            assert stats["0", A].sketch.n == parts * 6 * 8
            assert stats["0", G].sketch.n == parts * 6 * 8
            assert stats["0.weight", TensorKind.GRADIENT].sketch.n == 32
    # The parts are rounded to float32 before they are added up, once more by the division.
    assert seen.losses == pytest.approx(means, rel=2 * torch.finfo(torch.float32).eps)
    assert [sample.microbatches for sample in seen.samples] == [parts] * 3
    assert [sample.step for sample in seen.samples] == [1, 2, 3]


@pytest.mark.parametrize("over", ["all", "its own"])
def test_a_sum_over_tokens_divided_by_those_of_all_microbatches_or_of_its_own(over: str) -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    means = []
    with observing(model) as seen:
        for _ in range(3):
            sums = []
            optimizer.zero_grad()
            # Some labels are ignored; the whole is divided by what a framework counts, ignored or not.
            for ignored in (1, 3):
                labels = torch.randint(2, (6,))
                labels[:ignored] = -100
                loss = nn.functional.cross_entropy(model(torch.randn(6, 4)), labels, reduction="sum")
                # Behind it what frameworks do in case there are several processes.
                loss = (loss / torch.tensor(12 if over == "all" else 6)) * torch.tensor(1) / 1
                loss.backward()
                sums.append(loss.item())
            optimizer.step()
            means.append(sum(sums) / (1 if over == "all" else 2))
    # Added up in float64, each rounded to fp32 before.
    assert seen.losses == pytest.approx(means, rel=2.0**-24)
    assert [sample.loss_divisor for sample in seen.samples] == [2 if over == "all" else None] * 3


def test_a_closure_that_is_called_many_times_is_one_step() -> None:
    model = mlp()
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=5)
    firsts = []
    with observing(model) as seen:
        for _ in range(3):
            x, losses = torch.randn(6, 4), []

            def closure(x: torch.Tensor = x, losses: list[float] = losses) -> torch.Tensor:
                optimizer.zero_grad()
                loss = model(x).square().mean()
                loss.backward()
                losses.append(loss.item())
                return loss

            optimizer.step(closure)  # type: ignore[arg-type]
            assert len(losses) > 1
            firsts.append(losses[0])
            grad = model[0].weight.grad
            assert seen.stats()["0.weight", TensorKind.GRADIENT].sketch.max == float(grad.max())
    assert seen.losses == firsts
    assert [sample.step for sample in seen.samples] == [1, 2, 3]


def test_a_closure_of_a_first_order_optimizer() -> None:
    model = mlp()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    losses: list[float] = []
    norms: list[float] = []

    def closure() -> float:
        optimizer.zero_grad()
        loss = loss_of(model)
        loss.backward()
        losses.append(loss.item())
        norms.append(math.hypot(*(float(p.grad.double().norm()) for p in model.parameters())))
        return loss.item()

    with observing(model) as seen:
        for _ in range(4):
            optimizer.step(closure)
    assert seen.losses == losses
    told = [sample.grad_norm for sample in seen.samples]
    assert told == pytest.approx(norms, rel=1e-5)
    assert [sample.grad_norm_preclip for sample in seen.samples] == pytest.approx(norms, rel=1e-5)


@pytest.mark.parametrize("turns", [1, 3])
def test_two_optimizers_that_take_turns(turns: int) -> None:
    generator, critic = mlp(), nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))
    g = torch.optim.Adam(generator.parameters(), lr=1e-3)
    d = torch.optim.SGD(critic.parameters(), lr=1e-2)
    with observing({"g": generator, "d": critic}, (g, d)) as seen:
        for i in range(4):
            firsts = []
            for turn in range(turns):
                d.zero_grad()
                loss = critic(generator(torch.randn(5, 4)).detach()).mean()
                loss.backward()
                d.step()
                firsts += [loss.item()] if turn == 0 else []
            g.zero_grad()
            loss = -critic(generator(torch.randn(5, 4))).mean()
            loss.backward()
            g.step()
            newest = seen.samples[-1]
            assert (len(seen.samples), newest.step) == (i + 1, i + 1)
            assert newest.losses == {"SGD.1": firsts[0], "Adam.0": loss.item()}
            assert newest.loss == firsts[0]
            assert newest.lr == (1e-3, 1e-2)
            sketches = {
                name: s.sketch.n for (name, kind), s in seen.stats().items() if kind.value == "gradient"
            }
            assert {name: n for name, n in sketches.items() if "weight" in name} == {
                "g.0.weight": 32, "g.2.weight": 16, "d.0.weight": 16, "d.2.weight": 8,
            }  # fmt: skip


def test_a_watch_that_begins_in_the_middle_of_a_step_of_two_optimizers() -> None:
    model = mlp()
    first = torch.optim.SGD(model[0].parameters(), lr=0.1)
    second = torch.optim.SGD(model[2].parameters(), lr=0.1)
    losses = []
    loss_of(model).backward()
    with observing(model) as seen:
        first.step()
        second.step()
        for _ in range(3):
            loss = loss_of(model)
            losses.append(loss.item())
            model.zero_grad()
            loss.backward()
            first.step()
            second.step()
            assert seen.losses[-1] == losses[-1]
            assert len(seen.names(TensorKind.GRADIENT)) == 4
    # What was found first is no whole step, and its loss was before the watch.
    assert seen.losses == [None, *losses]


def test_an_optimizer_that_rests_is_not_waited_for() -> None:
    model = mlp()
    first = torch.optim.SGD(model[0].parameters(), lr=0.1)
    second = torch.optim.SGD(model[2].parameters(), lr=0.1)
    with observing(model, (first, second)) as seen:
        for _ in range(MOST_TURNS):
            step(model, first)
        assert len(seen.samples) == 1
        for _ in range(3):
            step(model, first)
        assert len(seen.samples) == 4
        step(model, second)
        step(model, first)
        assert len(seen.samples) == 5
        assert set(seen.samples[-1].losses) == {"SGD.0", "SGD.1"}


def test_several_roots_one_optimizer() -> None:
    encoder, decoder = mlp(), nn.Linear(2, 4)
    optimizer = torch.optim.SGD([*encoder.parameters(), *decoder.parameters()], lr=0.1)
    with observing({"encoder": encoder, "decoder": decoder}) as seen:
        for _ in range(2):
            optimizer.zero_grad()
            decoder(encoder(torch.randn(3, 4))).square().mean().backward()
            optimizer.step()
    assert list(seen.layers()) == ["encoder.0", "encoder.1", "encoder.2", "decoder"]
    assert len(seen.samples) == 2
    assert set(seen.names(A)) == {"encoder.0", "encoder.1", "encoder.2", "decoder"}
    assert len(seen.names(TensorKind.WEIGHT)) == 6


class Failing(nn.Module):
    """Raises in the middle of forward, or of backward, when told to."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 8), nn.Linear(8, 2)
        self.fails: str | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.first(x)
        if self.fails == "forward":
            raise FloatingPointError
        if self.fails == "backward":
            hidden.register_hook(self.raise_)
        out: torch.Tensor = self.second(hidden)
        return out

    @staticmethod
    def raise_(gradient: torch.Tensor) -> None:
        raise FloatingPointError


@pytest.mark.parametrize("where", ["forward", "backward"])
def test_an_exception_that_the_script_goes_on_after(where: str) -> None:
    model = Failing()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    losses = []
    with observing(model) as seen:
        for i in range(6):
            model.fails = where if i % 2 else None
            try:
                losses.append(step(model, optimizer))
            except FloatingPointError:
                optimizer.zero_grad()
                continue
            # Only of the step that came to its end.
            assert seen.stats()["first", A].sketch.n == 6 * 8
            assert seen.stats()["second", G].sketch.n == 6 * 2
            assert seen.samples[-1].microbatches == 1
    assert seen.losses == losses
    assert len(losses) == 3


@pytest.mark.parametrize("gradients", ["off", "on", "inference"])
def test_evaluation_between_steps_is_not_training(gradients: str) -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    losses = []
    off = {"off": torch.no_grad, "on": torch.enable_grad, "inference": torch.inference_mode}[gradients]
    with observing(model) as seen:
        for _ in range(4):
            losses.append(step(model, optimizer))
            assert seen.stats()["0", A].sketch.n == 6 * 8
            assert seen.stats()["input", TensorKind.INPUT].sketch.n == 6 * 4
            model.eval()
            with off():
                for _ in range(2):
                    loss_of(model, 50)
            model.train()
    assert seen.losses == losses


def test_training_a_model_in_eval_mode_is_seen() -> None:
    model = mlp().eval()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with observing(model) as seen:
        losses = [step(model, optimizer) for _ in range(4)]
    assert seen.losses == losses
    # What a forward in eval mode is for shows when backward follows: from the second step on.
    assert "0" not in seen.names(A, seen.samples[0])
    for sample in seen.samples[1:]:
        assert seen.names(A, sample) == ["0", "1", "2"]


@pytest.mark.parametrize("inf_at", [None, 0, 2])
def test_a_gradient_scaler(inf_at: int | None) -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=256.0, growth_interval=1000)
    losses, norms = [], []
    with observing(model) as seen:
        for i in range(4):
            optimizer.zero_grad()
            loss = loss_of(model)
            losses.append(loss.item())
            scaler.scale(loss).backward()
            if i == inf_at:
                model[0].weight.grad[0, 0] = math.inf
            scaler.unscale_(optimizer)
            norms.append(math.hypot(*(float(p.grad.double().norm()) for p in model.parameters())))
            scaler.step(optimizer)
            scaler.update()
    # The scale is a power of two: taking it out again is exact.
    assert [s.loss for s in seen.samples] == losses
    assert [s.skipped for s in seen.samples] == [i == inf_at for i in range(4)]
    for i, sample in enumerate(seen.samples):
        if i != inf_at:
            assert sample.grad_norm == pytest.approx(norms[i], rel=1e-5)
            assert sample.grad_norm_preclip == pytest.approx(norms[i], rel=1e-5)
    if inf_at is not None:
        assert seen.samples[-1].loss_scale == 128.0


def test_other_peoples_optimizers_are_no_steps() -> None:
    model, other = mlp(), mlp()
    mine = torch.optim.SGD(model.parameters(), lr=0.1)
    others = torch.optim.SGD(other.parameters(), lr=0.1)
    with observing(model) as seen:
        for _ in range(3):
            step(other, others)
            step(model, mine)
            step(other, others)
    assert [sample.step for sample in seen.samples] == [1, 2, 3]
    assert set(seen.names(A)) == {"0", "1", "2"}


def test_a_training_that_began_earlier_keeps_its_step_numbers() -> None:
    model = mlp()
    optimizer = torch.optim.Adam(model.parameters())
    for _ in range(5):
        step(model, optimizer)
    with observing(model) as seen:
        for _ in range(2):
            step(model, optimizer)
    assert [sample.step for sample in seen.samples] == [6, 7]
