"""The sketch on the CPU, with Numba: one pass over blocks that stay in the first-level cache.

Nothing here runs in parallel: Numba's parallel loops end a forked child or, called from two threads, the
process. The compiled code holds no lock and no state of its own, releases the GIL, and is safe after a fork.
Per list of tensors there is one call; beside it Python asks each tensor for its address and size.
"""

from __future__ import annotations

import math
import time
from array import array
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np

from tuimon_kernels.backend import Backend, Warmth
from tuimon_kernels.cpu_bins import SCRATCH
from tuimon_kernels.cpu_entries import entries
from tuimon_kernels.cpu_rows import BINS, BOOK, BUFFER, LIMITS, PLAN
from tuimon_kernels.cpu_sample import StridedSample
from tuimon_kernels.cpu_tensors import Facts, why_not
from tuimon_kernels.spec import Packed, ReadOut, Slot

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    import torch

_MOST_NARROW = 2**32 - 1


class SketchTable:
    """See `tuimon_kernels.backend.SketchTable`."""

    def __init__(self, slots: Sequence[Slot], pairs: Sequence[tuple[int, int]] = ()) -> None:
        self.slots = tuple(slots)
        self._entries, self._facts = entries(), Facts()
        bins, channels = [BINS[slot.dtype] for slot in self.slots], [slot.channels for slot in self.slots]
        k = len(self.slots)
        self._plan = _plan(self.slots, bins, channels, pairs)
        self._limits = np.array([_limits(slot) for slot in self.slots]).reshape(-1, LIMITS)
        self._book = np.zeros((k, BOOK), dtype=np.int64)
        self._moments, self._moved = np.empty((k, 4)), np.empty(k)
        self._fired = np.zeros((k, 2), dtype=np.uint64)
        self._bins = np.zeros(sum(bins), dtype=np.int64)
        self._last = np.zeros(sum(channels), dtype=np.int64)
        self._marks = np.empty(max(channels, default=0), dtype=np.uint8)
        self._tables = np.zeros(SCRATCH, dtype=np.uint32)
        self._buffer = np.empty(BUFFER, dtype=np.float32)
        per_slot = (self._plan, self._limits, self._book, self._moments, self._moved, self._fired)
        words = [k, *(a.ctypes.data for a in per_slot)]
        for flat in (self._bins, self._last, self._marks):
            words += [flat.ctypes.data, len(flat)]
        # Described once: see `cpu_rows`. The arrays above live as long as their addresses.
        self._words = array("q", [*words, self._tables.ctypes.data, self._buffer.ctypes.data])
        self._table = self._words.buffer_info()[0]
        self.clear()

    def clear(self) -> None:
        """Empty all sketches; the last-active marks stay."""
        self._entries.clear(self._table)

    def accumulate(self, slots: Sequence[int], tensors: Sequence[torch.Tensor], observation: int) -> None:
        """Add each tensor's elements to its slot's sketch."""
        # An array of an array goes item by item, of a list in one loop of C.
        rows = slots if type(slots) is array and slots.typecode == "q" else array("q", slots)
        facts, k = self._facts, len(tensors)
        if observation < 1:
            raise ValueError(f"observations are numbered from 1, not {observation}")
        if len(rows) != k:
            raise ValueError(f"{len(rows)} slots for {k} tensors")
        facts.read(tensors)
        wrong = self._entries.accumulate(
            self._table, rows.buffer_info()[0], facts.addresses, facts.sizes, facts.kinds, k, observation
        )
        if wrong >= k:
            raise ValueError(why_not(tensors[wrong - k], self.slots[rows[wrong - k]].dtype))
        if wrong >= 0:
            raise self._unknown(rows[wrong])

    def note_moved(self, slots: Sequence[int], ratios: Sequence[float]) -> None:
        """Note how far these slots' tensors moved, until the table is cleared."""
        self._moved[np.array(slots, dtype=np.int64)] = ratios

    def silent(self, since: int) -> array[int]:
        """Count, per slot, the channels last active before observation `since` (and in its pair)."""
        k = len(self.slots)
        rows, counts = array("i", range(k)), array("q", bytes(8 * k))
        self._entries.rate(self._table, _at(rows), k, since, 0, _at(counts), 0, 0)
        return counts

    def read_out(self, since: int, least: int) -> ReadOut:
        """End an observation: all that the rows with tensors hold."""
        rows = array("i", bytes(4 * len(self.slots)))
        k = self._entries.survey(self._table, rows.buffer_info()[0])
        del rows[k:]
        ratios, measured = array("d", bytes(24 * k)), array("B", bytes(k))
        self._entries.rate(self._table, _at(rows), k, since, least, 0, _at(ratios), _at(measured))
        return ReadOut(rows, self._packed(rows), ratios, measured)

    def export(self, slots: Sequence[int] | None = None) -> Packed:
        """Copy the sketches of these slots (all: None), in this order."""
        return self._packed(array("i", range(len(self.slots)) if slots is None else slots))

    def _packed(self, rows: array[int]) -> Packed:
        k, found = len(rows), array("q", (0, 0))
        wrong = self._entries.measure(self._table, _at(rows), k, _at(found))
        if wrong >= 0:
            raise self._unknown(rows[wrong])
        bins, most = found
        narrow = most <= _MOST_NARROW
        counts, moments = array("q", bytes(48 * k)), array("d", bytes(32 * k))
        hist_n, hist_zero = array("q", bytes(8 * k)), array("q", bytes(8 * k))
        first, width = array("h", bytes(2 * k)), array("h", bytes(2 * k))
        hist_counts = array("I", bytes(4 * bins)) if narrow else array("q", bytes(8 * bins))
        columns = counts, moments, hist_n, hist_zero, first, width, hist_counts
        to = array("q", [*(_at(column) for column in columns), 0])
        if not narrow:
            to[6], to[7] = 0, to[6]
        self._entries.pack(self._table, _at(rows), k, _at(to))
        return Packed(counts, moments, hist_n, hist_zero, first, width, hist_counts)

    def _unknown(self, row: int) -> IndexError:
        return IndexError(f"no slot {row} in a table of {len(self.slots)}")


def _at(column: array[Any]) -> int:
    """Address of an array's elements."""
    return column.buffer_info()[0]


def _plan(
    slots: Sequence[Slot], bins: list[int], channels: list[int], pairs: Sequence[tuple[int, int]]
) -> npt.NDArray[np.int64]:
    """Return the geometry of the slots, int64 [slots, PLAN]; columns as in `cpu_rows`."""
    first_channel, first_bin = (accumulate(counts, initial=0) for counts in (channels, bins))
    rows = [
        [s.dtype, s.channels, s.layout, s.inner, s.active, s.limits is not None, channel, bin_, -1]
        for s, channel, bin_ in zip(slots, first_channel, first_bin, strict=False)
    ]
    for a, b in pairs:
        if channels[a] != channels[b]:
            raise ValueError(f"slots {a} and {b} have {channels[a]} and {channels[b]} channels")
        rows[a][-1] = b
    return np.array(rows, dtype=np.int64).reshape(-1, PLAN)


def _limits(slot: Slot) -> tuple[float, float, float]:
    """Return the slot's limits, rounded outwards to what its elements are compared as, and their weight.

    For fp32 numbers ``x <= lo`` is the same as ``x <= (the largest fp32 number that is <= lo)``.
    """
    low, high = slot.limits or (-math.inf, math.inf)
    if slot.dtype.wide:
        return low, high, slot.limit_weight
    # Limits beyond fp32's range become infinite, as they should.
    with np.errstate(over="ignore"):
        low32, high32 = np.float32(low), np.float32(high)
    if float(low32) > low:
        low32 = np.nextafter(low32, np.float32(-math.inf))
    if float(high32) < high:
        high32 = np.nextafter(high32, np.float32(math.inf))
    return float(low32), float(high32), slot.limit_weight


def sum_squares(tensors: Sequence[torch.Tensor]) -> array[float]:
    """Sum of squares per tensor in one call, 'd' [k]; NaN and Inf propagate."""
    facts, k = Facts(), len(tensors)
    facts.read(tensors)
    out, buffer = array("d", bytes(8 * k)), array("f", bytes(4 * BUFFER))
    wrong = entries().sum_squares(facts.addresses, facts.sizes, facts.kinds, k, _at(buffer), _at(out))
    if wrong >= 0:
        raise ValueError(why_not(tensors[wrong]))
    return out


def warm() -> Warmth:
    """Load or compile all that is called later."""
    start_s = time.perf_counter()
    already = entries.cache_info().currsize > 0
    compiled = entries().compiled and not already
    return Warmth(wall_s=time.perf_counter() - start_s, compiled=compiled)


BACKEND = Backend("numba", SketchTable, sum_squares, StridedSample, warm)
