"""Tables that grow: rows can be added in the middle of a step, and all are read out at its end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tuimon_kernels import Backend, Packed, Slot, dense

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
        #: What each row describes, in the order of the slots; `TensorInfo.layer` is an index of the inventory.
        self.infos: list[TensorInfo] = []
        self._pairs: list[tuple[int, int]] = []
        self._main: SketchTable = backend.SketchTable(())
        self._settled = 0
        self._strays: dict[int, SketchTable] = {}
        self._touched: set[int] = set()
        self._fired = np.zeros((DEAD_WINDOW, 0), dtype=bool)
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
        if self._settled < len(self.slots):
            self._main = self._backend.SketchTable(self.slots)
            self._settled, self._strays, self._since = len(self.slots), {}, self.observation
            self._fired = np.zeros((DEAD_WINDOW, len(self.slots)), dtype=bool)
        else:
            self._main.clear()
        self._touched = set()

    def restart(self) -> None:
        """Empty the rows of the running observation."""
        self._main.clear()
        for stray in self._strays.values():
            stray.clear()
        self._touched = set()

    def accumulate(self, slots: list[int], tensors: Sequence[torch.Tensor]) -> None:
        """Add each tensor to its row."""
        self._touched.update(slots)
        if self._settled == len(self.slots):
            self._main.accumulate(slots, tensors, self.observation)
            return
        settled = [(s, t) for s, t in zip(slots, tensors, strict=True) if s < self._settled]
        if settled:
            self._main.accumulate([s for s, _ in settled], [t for _, t in settled], self.observation)
        for slot, tensor in zip(slots, tensors, strict=True):
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

    def read_out(self) -> tuple[list[int], list[Packed]]:
        """The touched rows, ascending, and their sketches in as many parts as there are tables."""
        touched = sorted(self._touched)
        settled = [s for s in touched if s < self._settled]
        self._fired[self.observation % DEAD_WINDOW] = False
        self._fired[self.observation % DEAD_WINDOW, settled] = True
        parts = [self._main.export(settled)] if settled else []
        parts += [self._strays[s].export() for s in touched if s >= self._settled]
        return touched, parts

    @property
    def dead_window(self) -> int:
        """Observed batches that dead units are judged over at present."""
        return min(self.observation - self._since + 1, DEAD_WINDOW)

    def dead_ratios(self) -> dict[int, float]:
        """Share of silent channels by row, for rows with channels that fired often enough to judge."""
        window = self.dead_window
        if not self._settled or window < DEAD_WINDOW_SHORTEST:
            return {}
        silent = self._main.silent(self.observation - window + 1, self._pairs_settled())
        often = self._fired.sum(axis=0) >= DEAD_WINDOW_SHORTEST
        channels = np.array([slot.channels for slot in self.slots[: self._settled]])
        judged = np.flatnonzero(often & (channels > 0))
        return dict(zip(judged.tolist(), (silent[judged] / channels[judged]).tolist(), strict=True))

    def _pairs_settled(self) -> list[tuple[int, int]]:
        return [(a, b) for a, b in self._pairs if a < self._settled and b < self._settled]
