"""What tensors that no module owns are called."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest
import torch

from tuimon.agent.finding.names import script_names


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Stands for the script that runs."""
    module = ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", module)
    return module


def test_variables_and_what_they_hold(script: ModuleType) -> None:
    class Net:
        def __init__(self) -> None:
            self.W3 = torch.ones(3)

    Net.__module__ = "__main__"
    first, second, third, fourth = (torch.ones(n) for n in (1, 2, 4, 5))
    script.__dict__.update(
        everything=[first, second], W1=first, _hidden=fourth, layers={"b": second, "c": third}, net=Net()
    )
    tensors = [first, second, third, script.net.W3, fourth]
    names = script_names(tensors)
    # A variable before a list that stands before it; the first container that holds it; not what is private.
    assert [names.get(id(t)) for t in tensors] == ["W1", "everything.1", "layers.c", "net.W3", None]


def test_objects_that_are_not_the_scripts_are_left_alone(script: ModuleType) -> None:
    class Touchy:
        def __getattribute__(self, name: str) -> object:
            raise AssertionError(name)

    touchy = Touchy()
    script.__dict__.update(touchy=touchy)
    assert script_names([torch.ones(1)]) == {}
