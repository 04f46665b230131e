"""What `tuimon run` puts into each Python: it waits for torch, and is not seen before nor after."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import autograd, nn
from torch.optim import optimizer as torch_optimizer

from tuimon.agent import watcher

ON_PATH = Path(str(importlib.util.find_spec("tuimon.agent.agent").origin)).with_name("on_path")  # type: ignore[union-attr]


@pytest.fixture(scope="module")
def on_path() -> Any:
    spec = importlib.util.spec_from_file_location("_tuimon_run", ON_PATH / "_tuimon_run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A module that was never imported."""
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    yield tmp_path / "awaited.py"
    sys.modules.pop("awaited", None)


def test_an_import_is_noticed_once_it_is_complete(on_path: Any, module: Path) -> None:
    module.write_text("complete = __loader__")
    seen = []
    before = list(sys.meta_path)
    sys.meta_path.insert(0, on_path.AfterImport("awaited", lambda: seen.append(sys.modules["awaited"])))
    # Asking for it is no import.
    assert importlib.util.find_spec("awaited") is not None
    assert seen == []
    awaited = importlib.import_module("awaited")
    assert seen == [awaited]
    assert isinstance(awaited.complete, SourceFileLoader)
    assert awaited.__spec__ is not None
    assert awaited.__spec__.loader is awaited.complete
    assert sys.meta_path == before


def test_an_import_that_fails_may_be_tried_again(on_path: Any, module: Path) -> None:
    module.write_text("raise RuntimeError")
    seen = []
    sys.meta_path.insert(0, on_path.AfterImport("awaited", lambda: seen.append(1)))
    with pytest.raises(RuntimeError):
        importlib.import_module("awaited")
    module.write_text("fine = True")
    importlib.invalidate_caches()
    importlib.import_module("awaited")
    assert seen == [1]


@pytest.fixture
def first(on_path: Any, tmp_path: Path) -> Iterator[Any]:
    """An armed wait for the first step of this process; the agent that it starts is taken out again."""
    options = {"directory": str(tmp_path / "sockets"), "how": "run", "every": 1}
    waits = on_path.FirstStep(json.dumps({"meeting": str(tmp_path), "options": options}))
    waits.arm()
    yield waits
    if not waits.fired:
        waits._disarm()
    here = watcher.current()
    if here is not None:
        here.end("closed")


def said(folder: Path) -> list[str]:
    return [json.loads(line)["what"] for line in (folder / str(os.getpid())).read_text().splitlines()]


def test_nothing_happens_without_a_step(first: Any, tmp_path: Path) -> None:
    model = nn.Linear(2, 2)
    with torch.no_grad():
        model(torch.ones(1, 2))
    torch.optim.SGD(model.parameters(), lr=0.1)
    assert watcher.current() is None
    assert said(tmp_path) == ["torch"]


@pytest.mark.parametrize("how", ["backward", "grad", "step"])
def test_the_first_step_starts_the_agent_and_goes(first: Any, tmp_path: Path, how: str) -> None:
    model = nn.Linear(2, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loss = model(torch.ones(1, 2)).sum()
    match how:
        case "backward":
            loss.backward()
        case "grad":
            torch.autograd.grad(loss, list(model.parameters()))
        case "step":
            optimizer.step()
    here = watcher.current()
    assert here is not None
    assert said(tmp_path) == ["torch", "agent"]
    assert [p.name for p in here.agent.inventory.parameters] == ["weight", "bias"]
    here.end("closed")
    assert autograd._engine_run_backward is autograd.graph._engine_run_backward
    assert not torch_optimizer._global_optimizer_pre_hooks


def test_an_agent_that_cannot_start_is_told_and_not_noticed(
    on_path: Any, tmp_path: Path, first: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(name: str) -> Any:
        raise RuntimeError(name)

    monkeypatch.setattr(on_path, "_module", fails)
    nn.Linear(2, 2)(torch.ones(1, 2)).sum().backward()
    assert said(tmp_path) == ["torch", "failed"]
    assert autograd._engine_run_backward is autograd.graph._engine_run_backward
    assert not torch_optimizer._global_optimizer_pre_hooks


def test_what_torch_compile_only_traces_is_no_step(first: Any) -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        torch.ones(1, requires_grad=True).sum().backward()
    assert watcher.current() is None


def looked_at(environment: dict[str, str]) -> dict[str, Any]:
    """A Python with these variables, as it is when its program begins."""
    code = "import sys; modules = [*sys.modules]; import json; print(json.dumps({'path': sys.path, 'finders':"
    code += "len(sys.meta_path), 'modules': modules}))"
    given = {name: value for name, value in os.environ.items() if name not in ("TUIMON_RUN", "PYTHONPATH")}
    ran = subprocess.run(
        [sys.executable, "-c", code], env={**given, **environment}, capture_output=True, check=True
    )
    told: dict[str, Any] = json.loads(ran.stdout)
    return told


def test_a_python_that_nobody_asked_waits_for_nothing() -> None:
    told = [looked_at({}), looked_at({"PYTHONPATH": str(ON_PATH)})]
    assert told[0]["path"] == told[1]["path"]
    assert told[0]["finders"] == told[1]["finders"]


def test_waiting_loads_nothing() -> None:
    waiting = looked_at({"PYTHONPATH": str(ON_PATH), "TUIMON_RUN": "{}"})
    bare = looked_at({})
    assert waiting["path"] == bare["path"]
    assert waiting["finders"] == bare["finders"] + 1
    # What they import is part of the interpreter.
    loaded = {*waiting["modules"]} - {*bare["modules"]}
    assert loaded <= {"_tuimon_run", "sitecustomize", "__future__", "atexit", "time"}
