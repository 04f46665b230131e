"""What a tensor was a moment ago, to see whether something wrote to it since."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch

#: Elements of a tensor that are compared where its version does not tell.
COMPARED = 64


class Mark:
    """One tensor's version and place; with `values` also some of its numbers. Holds it weakly.

    What writes to `p.data` leaves the version of `p` as it is, so then only the numbers tell. Those of a
    device are never read: that would wait for the device.
    """

    __slots__ = ("_place", "_tensor", "_values", "_version")

    def __init__(self, tensor: torch.Tensor, values: bool) -> None:
        self._tensor = weakref.ref(tensor)
        self._version, self._place = tensor._version, _place(tensor)
        self._values = _some(tensor) if values else None

    def renew(self) -> None:
        """Mark it as it is now."""
        tensor = self._tensor()
        if tensor is not None:
            self._version, self._place = tensor._version, _place(tensor)
            if self._values is not None:
                self._values = _some(tensor)

    @property
    def tensor(self) -> torch.Tensor | None:
        """What is marked, while it lives."""
        return self._tensor()

    @property
    def comparable(self) -> bool:
        """Whether it has numbers to compare."""
        return self._values is not None

    def written(self) -> bool:
        """Whether it has another version, or other memory, than it had."""
        tensor = self._tensor()
        if tensor is None:
            return False
        place = _place(tensor)
        # What FSDP gathers for a while has memory now and then only, and is no weight that is stepped.
        moved = place != self._place and place != 0 and self._place != 0
        return moved or tensor._version != self._version

    def differs(self) -> bool:
        """Whether the numbers are others; False where none were taken."""
        tensor = self._tensor()
        if tensor is None or self._values is None:
            return False
        now = _some(tensor)
        return now is None or not torch.equal(now, self._values)


def _place(tensor: torch.Tensor) -> int:
    return tensor.data_ptr() if _plain(tensor) else 0


def _plain(tensor: torch.Tensor) -> bool:
    return type(tensor) in (torch.Tensor, torch.nn.Parameter) and tensor.layout is torch.strided


def _some(tensor: torch.Tensor) -> torch.Tensor | None:
    """The bytes of a few elements (as numbers, a NaN would differ from itself); None where not readable."""
    if not tensor.is_cpu or not _place(tensor) or not tensor.is_contiguous():
        return None
    flat = tensor.detach().view(-1)
    return flat[:: max(1, len(flat) // COMPARED)].clone().view(torch.uint8)


def leaves(roots: Sequence[Any]) -> Iterator[torch.Tensor]:
    """The tensors that a backward from these roots would leave gradients in: the leaves of the graph.

    About a microsecond for each node of the graph.
    """
    waiting = [node for root in roots if (node := getattr(root, "grad_fn", None)) is not None]
    seen = set(waiting)
    while waiting:
        node = waiting.pop()
        variable = getattr(node, "variable", None)
        if isinstance(variable, torch.Tensor) and variable.is_leaf:
            yield variable
        for following, _ in node.next_functions:
            if following is not None and following not in seen:
                seen.add(following)
                waiting.append(following)


def spread(tensors: Iterable[torch.Tensor], most: int) -> list[torch.Tensor]:
    """So many of them, from the first to the last."""
    several = list(tensors)
    return several[:: -(-len(several) // most)] if several else []
