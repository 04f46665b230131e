"""Tensors that wait until a batch of them is worth one compiled call.

Nothing is copied. A tensor's version counter tells whether something wrote to it while it waited (an in-place
ReLU behind it): such a module's output is read at once from then on. Whatever waits stays alive meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import TYPE_CHECKING

import torch

from tuimon.agent.points import Point
from tuimon.agent.rows import RowTable

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Bytes that wait at most: what watching adds to the training's peak memory. More of them would have left the
#: second-level cache when they are read (1 MB on the EPYC that the benches ran on, shared with what the
#: training itself touches meanwhile), fewer would mean more calls, at 3 us each.
WAITING_BYTES = 192 << 10

_version: Callable[[torch.Tensor], int] = attrgetter("_version")


class WaitingTensors:
    """What is to be read next, with the row that each belongs to."""

    def __init__(self, table: RowTable) -> None:
        self._table = table
        self._slots: list[int] = []
        self._tensors: list[torch.Tensor] = []
        self._versions: list[int] = []
        #: Whose output each is; None for a gradient.
        self._points: list[Point | None] = []
        self._bytes = 0

    def add(self, slot: int, tensor: torch.Tensor, point: Point | None) -> None:
        """Let a tensor wait; all that waits is read when that becomes much."""
        if not tensor.is_contiguous():
            readable = self._table.readable(slot, tensor)
            if readable is None:
                return
            tensor = readable
        self._slots.append(slot)
        self._tensors.append(tensor)
        self._versions.append(tensor._version)
        self._points.append(point)
        self._bytes += tensor.nbytes
        if self._bytes >= WAITING_BYTES or (point is not None and point.overwritten):
            self.flush()

    def forget(self) -> None:
        """Let go of all that waits."""
        self._slots, self._tensors, self._versions, self._points = [], [], [], []
        self._bytes = 0

    def flush(self) -> None:
        """Read all that waits, except what was overwritten meanwhile."""
        slots, tensors = self._slots, self._tensors
        if not slots:
            return
        versions, points = self._versions, self._points
        self.forget()
        if list(map(_version, tensors)) != versions:
            for i in reversed(range(len(tensors))):
                if tensors[i]._version != versions[i]:
                    if (point := points[i]) is not None:
                        point.overwritten = True
                    del slots[i], tensors[i]
        try:
            self._table.accumulate(slots, tensors)
        except ValueError:
            self._read_what_fits(slots, tensors)

    def _read_what_fits(self, slots: Sequence[int], tensors: Sequence[torch.Tensor]) -> None:
        """A model that has moved to another device in the middle of the step: its rows do not fit it."""
        found = [(slot, self._table.readable(slot, one)) for slot, one in zip(slots, tensors, strict=True)]
        fitting = [(slot, tensor) for slot, tensor in found if tensor is not None]
        self._table.accumulate([slot for slot, _ in fitting], [tensor for _, tensor in fitting])
