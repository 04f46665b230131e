"""What the agent puts into a training, and that it takes all of it out again."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
import torch
from observing import A, observing, received, subscribed
from torch import nn
from torch.optim import optimizer as optimizer_module

import tuimon
from tuimon.agent import watcher
from tuimon.agent.reading import activations, parameters, probes, waiting
from tuimon.agent.stepping.engine import ENGINE
from tuimon.records.hello import Hello
from tuimon.records.sample import Bye, Log


def mlp() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))


def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    model(torch.randn(6, 4)).square().mean().backward()
    optimizer.step()


def hooks(model: nn.Module) -> int:
    """Hooks on the modules and for all optimizers, and attributes that are wrapped."""
    tables = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    found = sum(len(getattr(module, table)) for module in model.modules() for table in tables)
    found += sum(len(p._post_accumulate_grad_hooks or ()) for p in model.parameters() if hasattr(p, "_x"))
    found += len(optimizer_module._global_optimizer_pre_hooks)
    wrapped = (getattr(torch.autograd, ENGINE), torch.amp.GradScaler.scale, torch.amp.GradScaler.update)
    return found + sum(hasattr(one, "__wrapped__") for one in wrapped)


def descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


def test_hooks_exist_during_observed_steps_only() -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    bare = hooks(model)
    table = len(optimizer_module._global_optimizer_post_hooks)
    with observing(model, every=5) as seen:
        inside = []
        for _ in range(16):
            inside.append(hooks(model) > bare)
            assert hooks(model) in (bare, bare + 3 + 2 + 1 + 3)
            step(model, optimizer)
        assert len(optimizer_module._global_optimizer_post_hooks) == table + 1
        # The first step, then every fifth.
        assert inside == [i % 5 == 0 for i in range(16)]
        assert [sample.step for sample in seen.samples] == [1, 6, 11, 16]
        assert {sample.every for sample in seen.samples} == {5}
    assert hooks(model) == bare
    assert len(optimizer_module._global_optimizer_post_hooks) == table


def test_after_close_everything_is_as_before(runtime: Path) -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    step(model, optimizer)
    before = hooks(model), len(optimizer_module._global_optimizer_post_hooks)
    backward = getattr(torch.autograd, ENGINE)
    threads, open_before = set(threading.enumerate()), descriptors()
    for _ in range(2):
        with tuimon.watch(model, optimizer, every=1) as monitor:
            path = monitor.path
            assert path is not None
            assert path.parent == runtime
            for _ in range(3):
                step(model, optimizer)
            assert hooks(model) > before[0]
        assert (hooks(model), len(optimizer_module._global_optimizer_post_hooks)) == before
        assert getattr(torch.autograd, ENGINE) is backward
        assert set(threading.enumerate()) == threads
        assert descriptors() == open_before
        assert not path.exists()
        monitor.close()


def test_a_backward_that_somebody_else_wrapped_meanwhile_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    bare = getattr(torch.autograd, ENGINE)
    calls: list[int] = []
    with observing(model):
        ours = getattr(torch.autograd, ENGINE)

        def theirs(*args: object, **kwargs: object) -> object:
            calls.append(1)
            return ours(*args, **kwargs)

        monkeypatch.setattr(torch.autograd, ENGINE, theirs)
        step(model, optimizer)
    assert getattr(torch.autograd, ENGINE) is theirs
    step(model, optimizer)
    assert calls == [1, 1]
    monkeypatch.undo()
    setattr(torch.autograd, ENGINE, bare)


@pytest.mark.parametrize(
    "place", ["forward", "begin", "gradient", "after backward", "before", "step", "read"]
)
def test_a_failing_probe_disarms_once_and_training_goes_on(
    place: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], runtime: Path
) -> None:
    owner, name = {
        "forward": (activations.ActivationProbe, "_wanted"),
        "begin": (probes.Probes, "begin"),
        "gradient": (waiting.WaitingTensors, "flush"),
        "after backward": (parameters.ParameterProbe, "after_backward"),
        "before": (parameters.ParameterProbe, "before_step"),
        "step": (parameters.ParameterProbe, "after_step"),
        "read": (probes.Probes, "read"),
    }[place]

    def fail(*args: object, **kwargs: object) -> None:
        raise ZeroDivisionError("on purpose")

    def trained(watch: bool) -> list[torch.Tensor]:
        torch.manual_seed(1)
        model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.ReLU(), nn.Linear(8, 2))
        optimizer = torch.optim.Adam(model.parameters())
        bare = hooks(model)
        if watch:
            if place == "forward":  # looked up once, when the hooks are made
                monkeypatch.setattr(owner, name, fail)
            monitor = tuimon.watch(model, optimizer, every=1)
            assert monitor.path is not None
            told = received(subscribed(monitor.path))
            assert isinstance(next(told), Hello)
        for i in range(6):
            if watch and i == 2 and place != "forward":
                monkeypatch.setattr(owner, name, fail)
            step(model, optimizer)
        if watch:
            # The connection ends with the agent's last word.
            last = list(told)[-1]
            monitor.close()
            assert isinstance(last, Bye)
            assert last.reason.startswith("disarmed: ZeroDivisionError: on purpose")
            assert hooks(model) == bare
        return [*model.parameters(), torch.get_rng_state()]

    bare = trained(False)
    left = trained(True)
    assert all(torch.equal(a, b) for a, b in zip(bare, left, strict=True))
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert said[0].startswith("tuimon: stopped watching, training goes on: ZeroDivisionError: on purpose")


def test_logged_scalars_arrive_with_their_step(runtime: Path) -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with tuimon.watch(model, optimizer, every=1) as monitor:
        assert monitor.path is not None
        told = received(subscribed(monitor.path))
        assert isinstance(next(told), Hello)  # from here on it is certainly a viewer
        tuimon.log(start=1)
        step(model, optimizer)
        tuimon.log(val_loss=torch.tensor(0.25), accuracy=0.5)
        monitor.log(more=2)
    logs = [(r.step, dict(r.values)) for r in told if isinstance(r, Log)]
    assert logs == [(0, {"start": 1.0}), (1, {"val_loss": 0.25, "accuracy": 0.5}), (1, {"more": 2.0})]


def test_a_second_watch_joins_the_first(runtime: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = mlp(), mlp()
    optimizer = torch.optim.SGD([*one.parameters(), *two.parameters()], lr=0.1)
    first = tuimon.watch(one, name="one")
    second = tuimon.watch(two, name="two")
    assert first.path == second.path
    first.close()
    assert second.path is not None
    assert second.path.exists()
    step(two, optimizer)
    path = second.path
    second.close()
    assert not path.exists()
    assert capsys.readouterr().err == ""


def test_log_without_a_watch_does_nothing_but_check() -> None:
    tuimon.log(loss=1.0)
    with pytest.raises(TypeError, match="log\\(\\) takes numbers, but name is a str"):
        tuimon.log(name="no number")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"model": 3}, TypeError, "watch() takes a torch.nn.Module"),
        ({"model": [3]}, TypeError, "not int"),
        ({"optimizer": "adam"}, TypeError, "watch() takes a torch.optim.Optimizer"),
        ({"optimizer": ["adam"]}, TypeError, "not str"),
        ({"budget": 0.0}, ValueError, "within (0, 1]"),
        ({"budget": 1.5}, ValueError, "not 1.5"),
        ({"budget": float("nan")}, ValueError, "not nan"),
        ({"every": 0}, ValueError, "every counts steps from 1, not 0"),
    ],
)
def test_wrong_arguments(arguments: dict[str, object], error: type[Exception], text: str) -> None:
    with pytest.raises(error) as caught:
        tuimon.watch(**{"model": mlp(), **arguments})  # type: ignore[arg-type]
    assert text in str(caught.value)
    assert watcher.current() is None


def test_the_public_names() -> None:
    assert tuimon.__all__ == ["Monitor", "__version__", "log", "watch"]
    assert all(hasattr(tuimon, name) for name in tuimon.__all__)


def test_nobody_can_attach_but_training_goes_on(
    runtime: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(*args: object) -> None:
        raise PermissionError(13, "no socket here")

    monkeypatch.setattr("tuimon.agent.publishing.publisher.Server", refused)
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with tuimon.watch(model, optimizer) as monitor:
        assert monitor.path is None
        for _ in range(3):
            step(model, optimizer)
        tuimon.log(x=1.0)
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith(f"tuimon: nobody can attach to process {os.getpid()}: ")
    assert "no socket here" in said


def test_a_window_reads_no_module_that_left_the_model() -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    removed = model[0]
    with observing(model, every=2) as seen:
        step(model, optimizer)
        assert ("0", A) in seen.stats()
        assert hooks(removed) == hooks(nn.Linear(1, 1))
