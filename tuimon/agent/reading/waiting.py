"""Tensors that wait until a batch of them is worth one compiled call.

Nothing is copied. A tensor's version counter tells whether something wrote to it while it waited (an in-place
ReLU behind it): such a module's output is read at once from then on. Whatever waits stays alive meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import TYPE_CHECKING

import torch

from tuimon.agent.pacing.meter import Meter, clock
from tuimon.agent.reading.points import Point
from tuimon.agent.reading.rows import RowTable

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Tensors that wait at most, and the bytes from which one does not, being worth a call of its own (3 us).
#: Together they bound what watching adds to the training's peak memory; and what waits is still in the
#: second-level cache when it is read (1 MB on the EPYC that the benches ran on, shared with all that the
#: training itself touches meanwhile).
MOST_WAITING = 8
AT_ONCE_BYTES = 128 << 10

#: A row, its tensor, the tensor's version when it came, and whose output it is (None for a gradient).
Waiting = tuple[int, torch.Tensor, int, "Point | None"]

_version: Callable[[torch.Tensor], int] = attrgetter("_version")


class WaitingTensors:
    """What is to be read next. Hooks append to `items` themselves, and see to `MOST_WAITING`."""

    def __init__(self, table: RowTable, meter: Meter) -> None:
        self._table, self._meter = table, meter
        #: Always the same list.
        self.items: list[Waiting] = []

    def forget(self) -> None:
        """Let go of all that waits."""
        self.items.clear()

    def flush_inside(self) -> None:
        """The same as `flush`, called in a hook that has no clock of its own."""
        start_s = clock()
        self.flush()
        self._meter.own_s += clock() - start_s

    def flush(self) -> None:
        """Read all that waits, except what was overwritten meanwhile."""
        # Replicas of a model may run in threads of their own: what they add meanwhile stays.
        items = self.items[:]
        if not items:
            return
        del self.items[: len(items)]
        self._meter.calls += len(items)
        slots: Sequence[int]
        tensors: Sequence[torch.Tensor]
        slots, tensors, versions, _ = zip(*items, strict=True)
        if tuple(map(_version, tensors)) != versions:
            slots, tensors = self._unchanged(items)
        if not all(map(torch.Tensor.is_contiguous, tensors)):
            slots, tensors = self._copied(slots, tensors)
        try:
            self._table.accumulate(slots, tensors)
        except ValueError:
            # A model that has moved to another device in the middle of the step: its rows do not fit it.
            self._table.accumulate(*self._copied(slots, tensors))

    def _unchanged(self, items: Sequence[Waiting]) -> tuple[list[int], list[torch.Tensor]]:
        """Those that nothing wrote to; of the others, their outputs do not wait from now on."""
        slots, tensors = [], []
        for slot, tensor, version, point in items:
            if tensor._version == version:
                slots.append(slot)
                tensors.append(tensor)
            elif point is not None:
                point.overwritten = point.at_once = True
        return slots, tensors

    def _copied(
        self, slots: Sequence[int], tensors: Sequence[torch.Tensor]
    ) -> tuple[list[int], list[torch.Tensor]]:
        """The same in dense memory, without what no kernel reads."""
        found = [(slot, self._table.readable(slot, one)) for slot, one in zip(slots, tensors, strict=True)]
        fitting = [(slot, tensor) for slot, tensor in found if tensor is not None]
        return [slot for slot, _ in fitting], [tensor for _, tensor in fitting]
