"""What torch looks up at each call, as it was before anybody watched.

An agent that sees what a script never told it of replaces attributes of torch for the whole process. A
training beside it that is to be bare would pay for them, and would be taken for a part of what is watched.
"""

from __future__ import annotations

from collections import OrderedDict
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch.optim import optimizer as torch_optimizer

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Modules and classes, in which every function and every table counts: whatever a monitor comes to replace
#: next is found without naming it here.
_OWNERS: tuple[Any, ...] = (
    torch,
    torch._C,
    torch._C._nn,
    torch.autograd,
    torch.autograd.graph,
    torch.nn.functional,
    torch.nn.modules.module,
    torch.nn.Module,
    torch_optimizer,
    torch.optim.Optimizer,
    torch.amp.GradScaler,
    torch.Tensor,
)

_TABLES = (dict, OrderedDict)


class Originals:
    """Functions and tables of torch, remembered when this is made."""

    def __init__(self) -> None:
        self._found: list[tuple[Any, dict[str, Any]]] = [
            (owner, {name: one for name, one in vars(owner).items() if callable(one) or type(one) in _TABLES})
            for owner in _OWNERS
        ]

    def replaced(self) -> list[tuple[Any, str]]:
        """The owners and names of all that is another object by now."""
        return [
            (owner, name)
            for owner, found in self._found
            for name, original in found.items()
            if vars(owner).get(name, original) is not original
        ]

    @contextmanager
    def back(self) -> Iterator[None]:
        """All of it is back for as long as the context lasts."""
        originals = {id(owner): found for owner, found in self._found}
        kept = [(owner, name, vars(owner)[name]) for owner, name in self.replaced()]
        for owner, name, _ in kept:
            setattr(owner, name, originals[id(owner)][name])
        try:
            yield
        finally:
            for owner, name, replacement in kept:
                setattr(owner, name, replacement)
