"""What stands in the place of an optimizer where a training has none."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


class HandwrittenOptimizer:
    """Stands for what the training has in place of an optimizer. Holds the parameters weakly."""

    def __init__(self) -> None:
        self._parameters: list[weakref.ref[torch.Tensor]] = []
        #: As of an optimizer that keeps nothing.
        self.state: dict[Any, Any] = {}
        #: What the last backward left or, if `returned`, what `torch.autograd.grad` gave to the training.
        self.gradients: list[tuple[torch.Tensor, torch.Tensor]] = []
        self.returned = False
        #: Which parameters the last step moved (by identity); None where that is not known.
        self.moved: frozenset[int] | None = None

    def add(self, tensors: Iterable[torch.Tensor]) -> None:
        """It steps these as well."""
        known = {id(tensor) for tensor in self.parameters()}
        self._parameters += [weakref.ref(tensor) for tensor in tensors if id(tensor) not in known]

    def parameters(self) -> Iterator[torch.Tensor]:
        """Those that live."""
        return (tensor for known in self._parameters if (tensor := known()) is not None)

    def __len__(self) -> int:
        """How many parameters it has been seen to step."""
        return len(self._parameters)

    def __iter__(self) -> Iterator[torch.Tensor]:
        return self.parameters()

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """As an optimizer has them; the learning rate is only known to the training."""
        return [{"params": self}]
