"""Compiled trainings that are entered: nothing is compiled again, and all that can be seen is seen."""

from __future__ import annotations

import warnings

import pytest
import torch
from entering import Told, entering, mlp, named, names, step

from tuimon.agent import watcher
from tuimon.agent.introduction import probes
from tuimon.records.layout import Layout

pytestmark = pytest.mark.usefixtures("runtime")


@pytest.fixture(autouse=True)
def _nothing_compiled() -> None:
    torch._dynamo.reset()


def test_no_warning_of_global_hooks_reaches_a_compiled_training_and_nothing_is_compiled_again() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = mlp()
        compiled = torch.compile(model, backend="eager")
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        step(optimizer, compiled)
        frames = dict(torch._dynamo.utils.counters["frames"])
        assert frames["ok"] > 0
    with entering() as agent:
        assert agent.discovery is not None
        while agent.discovery.searching:
            step(optimizer, compiled)
        step(optimizer, compiled)
        assert names(agent) == named(model)
        assert probes(agent)["activations"] == "the layers run inside compiled code"
    step(optimizer, compiled)
    assert dict(torch._dynamo.utils.counters["frames"]) == frames


def test_compiled_after_the_entry_warns_of_nothing_of_ours() -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with entering() as agent:
        assert agent.discovery is not None
        assert agent.discovery.searching
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            compiled = torch.compile(model, backend="eager")
            for _ in range(3):
                step(optimizer, compiled)
        assert names(agent) == named(model)
    assert not any("global hooks" in str(warning.message) for warning in told)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("in_place", [False, True])
def test_observed_steps_run_uncompiled_where_that_is_asked_for(in_place: bool) -> None:
    model = mlp()
    call = model
    if in_place:
        model.compile(backend="eager")
    else:
        call = torch.compile(model, backend="eager")  # type: ignore[assignment]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    step(optimizer, call)
    frames = dict(torch._dynamo.utils.counters["frames"])
    stance = torch._dynamo.eval_frame._stance
    with entering(every=2, activations="eager-step") as agent:
        assert agent.discovery is not None
        while agent.discovery.searching:
            step(optimizer, call)
        here = watcher.current()
        assert here is not None
        told = Told(here.path)
        inside = []
        for _ in range(6):
            inside.append(torch._dynamo.eval_frame._stance.stance)
            step(optimizer, call)
        assert set(inside) == {"force_eager", "default"}
        layout = told.until(lambda r: isinstance(r, Layout))
        assert isinstance(layout, Layout)
        assert [(layer.name, layer.hidden) for layer in layout.layers] == [
            ("0", None),
            ("1", None),
            ("2", None),
        ]
        assert probes(agent)["activations"] == "on"
        assert "not bit-neutral" in probes(agent)["eager_step"]
    assert torch._dynamo.eval_frame._stance is stance
    step(optimizer, call)
    assert dict(torch._dynamo.utils.counters["frames"]) == frames


@pytest.mark.filterwarnings("ignore")
def test_a_stance_of_the_training_s_own_is_left_as_it_is() -> None:
    model = mlp()
    call = torch.compile(model, backend="eager")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with torch.compiler.set_stance("eager_on_recompile"):
        with entering(activations="eager-step") as agent:
            assert agent.discovery is not None
            while agent.discovery.searching:
                step(optimizer, call)
            assert torch._dynamo.eval_frame._stance.stance == "force_eager"
        assert torch._dynamo.eval_frame._stance.stance == "eager_on_recompile"


@pytest.mark.filterwarnings("ignore")
def test_a_compiled_step_of_the_optimizer_is_compiled_once_more_at_most() -> None:
    model = mlp()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    compiled = torch.compile(optimizer.step, backend="eager")

    def take() -> None:
        optimizer.zero_grad()
        model(torch.randn(6, 4)).square().mean().backward()
        compiled()

    for _ in range(3):
        take()
    graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    frames = []
    for _ in range(3):
        with entering(every=2) as agent:
            assert agent.discovery is not None
            while agent.discovery.searching:
                take()
            # Tables with hooks of ours, and without: each is met for the first time once.
            for _ in range(12):
                take()
            assert names(agent) == named(model)
            assert agent.samples == 6
        frames.append(torch._dynamo.utils.counters["frames"]["total"])
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == graphs
    assert frames[0] == frames[1] == frames[2]
