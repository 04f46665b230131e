"""Tables that grow: rows can be added in the middle of a step, and all are read out at its end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tuimon_kernels import Backend, Packed, Slot, dense

if TYPE_CHECKING:
    import numpy.typing as npt
    import torch

    from tuimon.records.layout import TensorInfo
    from tuimon_kernels.backend import SketchTable

    Slots = Sequence[int] | npt.NDArray[np.int64]

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
        #: [settled]: rows with elements in this observation, and channels of each.
        self._touched = np.zeros(0, dtype=bool)
        self._channels = np.zeros(0, dtype=np.int64)
        #: [DEAD_WINDOW, settled]: which rows had elements, by observation; and how often within the window.
        self._fired = np.zeros((DEAD_WINDOW, 0), dtype=bool)
        self._often = np.zeros(0, dtype=np.int64)
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
            self._touched[:] = False
            return
        self._main = self._backend.SketchTable(self.slots)
        self._settled, self._strays, self._since = len(self.slots), {}, self.observation
        self._touched = np.zeros(self._settled, dtype=bool)
        self._channels = np.array([slot.channels for slot in self.slots])
        self._fired = np.zeros((DEAD_WINDOW, self._settled), dtype=bool)
        self._often = np.zeros(self._settled, dtype=np.int64)

    def restart(self) -> None:
        """Empty the rows of the running observation."""
        self._main.clear()
        self._touched[:] = False
        self._strays = {}

    def accumulate(self, slots: Slots, tensors: Sequence[torch.Tensor]) -> None:
        """Add each tensor to its row."""
        rows = np.asarray(slots, dtype=np.int64)
        if self._settled == len(self.slots):
            self._main.accumulate(rows, tensors, self.observation)
            self._touched[rows] = True
            return
        settled = [i for i, row in enumerate(rows) if row < self._settled]
        if settled:
            self._main.accumulate(rows[settled], [tensors[i] for i in settled], self.observation)
            self._touched[rows[settled]] = True
        for slot, tensor in zip(rows.tolist(), tensors, strict=True):
            if slot >= self._settled:
                stray = self._strays.get(slot)
                if stray is None:
                    stray = self._strays[slot] = self._backend.SketchTable((self.slots[slot],))
                stray.accumulate((0,), (tensor,), self.observation)

    def readable(self, slot: int, tensor: torch.Tensor) -> torch.Tensor | None:
        """The same elements in dense memory; None where no kernel reads this tensor."""
        if not tensor.is_cpu:
            return None
        # Channels are found by position, so only a row without them may be read in another order of axes.
        if not self.slots[slot].channels and dense(tensor):
            return tensor
        return tensor.detach().contiguous()

    def read_out(self) -> tuple[npt.NDArray[np.int64], list[Packed]]:
        """The rows with elements, ascending, and their sketches in as many parts as there are tables."""
        settled = np.flatnonzero(self._touched)
        turn = self.observation % DEAD_WINDOW
        self._often += self._touched
        self._often -= self._fired[turn]
        self._fired[turn] = self._touched
        parts = [self._main.export(settled)] if len(settled) else []
        strays = sorted(self._strays)
        parts += [self._strays[slot].export() for slot in strays]
        return np.append(settled, np.array(strays, dtype=np.int64)), parts

    @property
    def dead_window(self) -> int:
        """Observed batches that dead units are judged over at present."""
        return min(self.observation - self._since + 1, DEAD_WINDOW)

    def dead_ratios(self) -> npt.NDArray[np.float64]:
        """Share of silent channels by row, float64 [settled rows]; NaN where there is nothing to judge.

        A row needs channels, and elements in enough of the observed batches.
        """
        window = self.dead_window
        if window < DEAD_WINDOW_SHORTEST:
            return np.full(self._settled, np.nan)
        pairs = [pair for pair in self._pairs if max(pair) < self._settled]
        silent = self._main.silent(self.observation - window + 1, pairs)
        judged = (self._often >= DEAD_WINDOW_SHORTEST) & (self._channels > 0)
        return np.where(judged, silent / np.maximum(self._channels, 1), np.nan)
