"""The sketch on the CPU, with Numba: one pass over blocks that stay in the first-level cache.

Nothing here runs in parallel: Numba's parallel loops end a forked child or, called from two threads, the
process. The compiled code holds no lock and no state of its own, releases the GIL, and is safe after a fork.
Per list of tensors there is one call; beside it Python asks each tensor for its address and size.
"""

from __future__ import annotations

import math
import time
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np

from tuimon_kernels.backend import Backend, Warmth
from tuimon_kernels.cpu_bins import HIGH, LOW, SCRATCH
from tuimon_kernels.cpu_entries import entries
from tuimon_kernels.cpu_rows import BINS, BOOK, BUFFER, PLAN
from tuimon_kernels.cpu_sample import StridedSample
from tuimon_kernels.cpu_tensors import addresses, dtypes, sizes
from tuimon_kernels.spec import Packed, Slot

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    import torch

    from tuimon_kernels.backend import Rows


class SketchTable:
    """See `tuimon_kernels.backend.SketchTable`."""

    def __init__(self, slots: Sequence[Slot]) -> None:
        self.slots = tuple(slots)
        self._entries = entries()
        bins, channels = [BINS[slot.dtype] for slot in self.slots], [slot.channels for slot in self.slots]
        self._plan = _plan(self.slots, bins, channels)
        self._limits = np.array([_limits(slot) for slot in self.slots]).reshape(-1, 2)
        self._book = np.zeros((len(self.slots), BOOK), dtype=np.int64)
        self._moments = np.empty((len(self.slots), 4))
        self._bins = np.zeros(sum(bins), dtype=np.int64)
        self._last = np.zeros(sum(channels), dtype=np.int64)
        self._first = np.array([slot.dtype.exponents[0] for slot in self.slots], dtype=np.int64)
        self._tables = np.zeros(SCRATCH, dtype=np.uint32)
        self._buffer = np.empty(BUFFER, dtype=np.float32)
        self._marks = np.empty(max(channels, default=0), dtype=np.uint8)
        self._paired: tuple[tuple[tuple[int, int], ...], npt.NDArray[np.int64]] | None = None
        self._buffer_address = self._buffer.ctypes.data
        self.clear()

    def clear(self) -> None:
        """Empty all sketches; the last-active marks stay."""
        self._entries.clear(self._plan, self._book, self._moments, self._bins)

    def accumulate(self, slots: Rows, tensors: Sequence[torch.Tensor], observation: int) -> None:
        """Add each tensor's elements to its slot's sketch."""
        rows = np.ascontiguousarray(slots, dtype=np.int64)
        if observation < 1:
            raise ValueError(f"observations are numbered from 1, not {observation}")
        if len(rows) != len(tensors):
            raise ValueError(f"{len(rows)} slots for {len(tensors)} tensors")
        wrong = self._entries.accumulate(
            rows,
            addresses(tensors),
            sizes(tensors),
            observation,
            self._plan,
            self._limits,
            self._book,
            self._moments,
            self._bins,
            self._last,
            self._tables,
            self._buffer_address,
            self._marks,
        )
        if wrong >= 0:
            raise self._unknown(rows[wrong])

    def silent(self, since: int, pairs: Sequence[tuple[int, int]] = ()) -> npt.NDArray[np.int64]:
        """Count, per slot, the channels last active before observation `since` (and in its pair)."""
        first, channels = self._plan[:, 6], self._plan[:, 1]
        marks = np.append(self._last < since, False)
        if pairs:
            marks &= marks[self._partners(tuple(pairs))]
        silent = np.add.reduceat(marks.astype(np.int64), first) if len(first) else first.copy()
        return np.where(channels > 0, silent, 0).astype(np.int64)

    def _partners(self, pairs: tuple[tuple[int, int], ...]) -> npt.NDArray[np.int64]:
        """Return the channel that each channel is paired with, itself where there is none."""
        if self._paired is None or self._paired[0] != pairs:
            first, channels = self._plan[:, 6].tolist(), self._plan[:, 1].tolist()
            partners = np.arange(len(self._last) + 1)
            for a, b in pairs:
                if channels[a] != channels[b]:
                    raise ValueError(f"slots {a} and {b} have {channels[a]} and {channels[b]} channels")
                partners[first[a] : first[a] + channels[a]] = np.arange(first[b], first[b] + channels[b])
            self._paired = pairs, partners
        return self._paired[1]

    def export(self, slots: Rows | None = None) -> Packed:
        """Copy the sketches of these slots (all: None), in this order."""
        rows = np.arange(len(self.slots)) if slots is None else np.ascontiguousarray(slots, dtype=np.int64)
        for row in rows[(rows < 0) | (rows >= len(self.slots))]:
            raise self._unknown(row)
        book = self._book[rows]
        width = np.maximum(book[:, HIGH] - book[:, LOW] + 1, 0)
        packed = np.empty(2 * int(width.sum()), dtype=np.int64)
        self._entries.pack(rows, self._plan, self._book, self._bins, packed)
        narrow = book[:, 6].max(initial=0) <= np.iinfo(np.uint32).max
        return Packed(
            counts=book[:, :6].copy(),
            moments=self._moments[rows],
            hist_n=book[:, 6].copy(),
            hist_zero=book[:, 7].copy(),
            hist_first=np.where(width > 0, book[:, LOW] + self._first[rows], 0).astype(np.int16),
            hist_width=width.astype(np.int16),
            hist_counts=packed.astype(np.uint32) if narrow else packed,
        )

    def _unknown(self, row: int) -> IndexError:
        return IndexError(f"no slot {row} in a table of {len(self.slots)}")


def _plan(slots: Sequence[Slot], bins: list[int], channels: list[int]) -> npt.NDArray[np.int64]:
    """Return the geometry of the slots, int64 [slots, 8]; columns as in `cpu_rows`."""
    first_channel, first_bin = (accumulate(counts, initial=0) for counts in (channels, bins))
    rows = [
        (s.dtype, s.channels, s.layout, s.inner, s.active, s.limits is not None, channel, bin_)
        for s, channel, bin_ in zip(slots, first_channel, first_bin, strict=False)
    ]
    return np.array(rows, dtype=np.int64).reshape(-1, PLAN)


def _limits(slot: Slot) -> tuple[float, float]:
    """Return the slot's limits, rounded outwards to what its elements are compared as.

    For fp32 numbers ``x <= lo`` is the same as ``x <= (the largest fp32 number that is <= lo)``.
    """
    low, high = slot.limits or (-math.inf, math.inf)
    if slot.dtype.wide:
        return low, high
    # Limits beyond fp32's range become infinite, as they should.
    with np.errstate(over="ignore"):
        low32, high32 = np.float32(low), np.float32(high)
    if float(low32) > low:
        low32 = np.nextafter(low32, np.float32(-math.inf))
    if float(high32) < high:
        high32 = np.nextafter(high32, np.float32(math.inf))
    return float(low32), float(high32)


def sum_squares(tensors: Sequence[torch.Tensor]) -> npt.NDArray[np.float64]:
    """Sum of squares per tensor in one call, float64 [k]; NaN and Inf propagate."""
    out = np.empty(len(tensors))
    buffer = np.empty(BUFFER, dtype=np.float32)
    entries().sum_squares(addresses(tensors), sizes(tensors), dtypes(tensors), buffer.ctypes.data, out)
    return out


def warm() -> Warmth:
    """Load or compile all that is called later."""
    start_s = time.perf_counter()
    already = entries.cache_info().currsize > 0
    compiled = entries().compiled and not already
    return Warmth(wall_s=time.perf_counter() - start_s, compiled=compiled)


BACKEND = Backend("numba", SketchTable, sum_squares, StridedSample, warm)
