"""Tables that grow: rows can be added in the middle of a step, and all are read out at its end."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from tuimon_kernels import Backend, ReadOut, Slot, dense

if TYPE_CHECKING:
    import torch

    from tuimon.records.layout import TensorInfo
    from tuimon_kernels.backend import SketchTable

#: Observed batches over which a unit must stay silent to count as dead.
DEAD_WINDOW = 128
#: Fewer observed batches than this say nothing about dead units.
DEAD_WINDOW_SHORTEST = 8


class RowTable:
    """Sketches of slots that become known one after another.

    A slot added while a step is observed gets a small table of its own for that step; before the next
    one all slots move into one table, where a single compiled call serves many of them.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.slots: list[Slot] = []
        #: What each row describes, by slot; `TensorInfo.layer` is an index of the inventory.
        self.infos: list[TensorInfo] = []
        self._pairs: list[tuple[int, int]] = []
        self._main: SketchTable = backend.SketchTable(())
        self._settled = 0
        self._strays: dict[int, SketchTable] = {}
        #: Number of the sampled step, from 1, and the one at which the main table was made.
        self.observation = 0
        self._since = 1

    def add(self, slot: Slot, info: TensorInfo) -> int:
        """Add a row; return its number."""
        self.slots.append(slot)
        self.infos.append(info)
        return len(self.slots) - 1

    def pair(self, slot: int, partner: int) -> None:
        """Let the first slot's channels count as silent only when the other's are silent too."""
        self._pairs.append((slot, partner))

    def begin(self) -> None:
        """Start a new observation with empty rows."""
        self.observation += 1
        if self._settled == len(self.slots):
            self._main.clear()
            return
        self._settled, self._strays, self._since = len(self.slots), {}, self.observation
        self._main = self._backend.SketchTable(self.slots, self._pairs)

    def restart(self) -> None:
        """Empty the rows of the running observation."""
        self._main.clear()
        self._strays = {}

    def accumulate(self, slots: Sequence[int], tensors: Sequence[torch.Tensor]) -> None:
        """Add each tensor to its row.

        ValueError when one is no dense memory of its row's type and device; the rows known before this
        observation are unchanged then.
        """
        if self._settled == len(self.slots):
            self._main.accumulate(slots, tensors, self.observation)
            return
        settled = [i for i, slot in enumerate(slots) if slot < self._settled]
        if settled:
            self._main.accumulate(
                [slots[i] for i in settled], [tensors[i] for i in settled], self.observation
            )
        for slot, tensor in zip(slots, tensors, strict=True):
            if slot >= self._settled:
                stray = self._strays.get(slot)
                if stray is None:
                    stray = self._strays[slot] = self._backend.SketchTable((self.slots[slot],))
                stray.accumulate((0,), (tensor,), self.observation)

    def note_moved(self, slots: Sequence[int], ratios: Sequence[float]) -> None:
        """Note by how much the weights of these rows moved. Rows made in this observation have none yet."""
        if self._settled == len(self.slots) or max(slots, default=-1) < self._settled:
            self._main.note_moved(slots, ratios)

    def readable(self, slot: int, tensor: torch.Tensor) -> torch.Tensor | None:
        """The same elements in dense memory; None where no kernel reads this tensor."""
        if not tensor.is_cpu:
            return None
        # Channels are found by position, so only a row without them may be read in another order of axes.
        if not self.slots[slot].channels and dense(tensor):
            return tensor
        return tensor.detach().contiguous()

    def read_out(self) -> list[ReadOut]:
        """The rows with elements, ascending over all parts, in as many parts as there are tables.

        A unit counts as dead that was silent in all of `dead_window`, in a row with elements in
        `DEAD_WINDOW_SHORTEST` observations of it or more.
        """
        since = self.observation - self.dead_window + 1
        parts = [self._main.read_out(since, DEAD_WINDOW_SHORTEST)]
        for slot in sorted(self._strays):
            part = self._strays[slot].read_out(since, DEAD_WINDOW_SHORTEST)
            parts.append(replace(part, rows=array("i", [slot] * len(part.rows))))
        return [part for part in parts if part.rows]

    @property
    def dead_window(self) -> int:
        """Observed batches that dead units are judged over at present."""
        return min(self.observation - self._since + 1, DEAD_WINDOW)
