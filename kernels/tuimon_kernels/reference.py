"""The sketch in float64 torch: slow, obvious, and the oracle for every fast implementation.

It also serves where there is no Numba, so it needs nothing but torch.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from typing import TYPE_CHECKING

import torch

from tuimon_kernels.backend import Backend, Warmth
from tuimon_kernels.geometry import dense
from tuimon_kernels.spec import (
    BLOCK,
    DEAD,
    LIMIT,
    MOVED,
    PIECE,
    REMEMBERED,
    Activity,
    DType,
    Packed,
    ReadOut,
    Slot,
    sampled,
)
from tuimon_kernels.stride import sample_stride
from tuimon_kernels.undisturbed import undisturbed

if TYPE_CHECKING:
    from collections.abc import Sequence

_MOST_NARROW = 2**32 - 1


def flat(tensor: torch.Tensor) -> torch.Tensor:
    """Return the elements of a dense tensor in memory order, float64 [n]; none without storage."""
    if tensor.data_ptr() == 0:
        return torch.empty(0, dtype=torch.float64, device="cpu")
    memory = torch.as_strided(tensor.detach(), (tensor.numel(),), (1,), tensor.storage_offset())
    return memory.to(torch.float64)


class SketchTable:
    """See `tuimon_kernels.backend.SketchTable`."""

    def __init__(self, slots: Sequence[Slot], pairs: Sequence[tuple[int, int]] = ()) -> None:
        self.slots = tuple(slots)
        for a, b in pairs:
            channels = self.slots[a].channels, self.slots[b].channels
            if channels[0] != channels[1]:
                raise ValueError(f"slots {a} and {b} have {channels[0]} and {channels[1]} channels")
        self._partner = dict(pairs)
        self._rows = [_Row(slot) for slot in self.slots]
        self._last_active = [[0] * slot.channels for slot in self.slots]
        #: By slot: a bit for each of the last observations, the newest in bit 0: had it elements?
        self._fired = [0] * len(self.slots)

    def clear(self) -> None:
        """Empty all sketches; the last-active marks stay."""
        self._rows = [_Row(slot) for slot in self.slots]

    @undisturbed
    def accumulate(self, slots: Sequence[int], tensors: Sequence[torch.Tensor], observation: int) -> None:
        """Add each tensor's elements to its slot's sketch."""
        if observation < 1:
            raise ValueError(f"observations are numbered from 1, not {observation}")
        if len(slots) != len(tensors):
            raise ValueError(f"{len(slots)} slots for {len(tensors)} tensors")
        rows = [self._row(slot) for slot in slots]
        for slot, tensor in zip(slots, tensors, strict=True):
            _check(tensor, self.slots[slot])
        for slot, row, tensor in zip(slots, rows, tensors, strict=True):
            x = flat(tensor)
            row.add(x, slot, observation)
            for channel in _active_channels(x, self.slots[slot]):
                self._last_active[slot][channel] = observation

    def note_moved(self, slots: Sequence[int], ratios: Sequence[float]) -> None:
        """Note how far these slots' tensors moved, until the table is cleared."""
        for slot, ratio in zip(slots, ratios, strict=True):
            self._row(slot).moved = ratio

    def silent(self, since: int) -> array[int]:
        """Count, per slot, the channels last active before observation `since` (and in its pair)."""
        return array("q", [self._silent(slot, since) for slot in range(len(self.slots))])

    def _silent(self, slot: int, since: int) -> int:
        mine, theirs = self._last_active[slot], self._last_active[self._partner.get(slot, slot)]
        return sum(a < since and b < since for a, b in zip(mine, theirs, strict=True))

    def read_out(self, since: int, least: int) -> ReadOut:
        """End an observation: all that the rows with tensors hold."""
        newest = 2**REMEMBERED - 1
        self._fired = [
            (bits << 1 | (row.times > 0)) & newest for bits, row in zip(self._fired, self._rows, strict=True)
        ]
        rows = [slot for slot, row in enumerate(self._rows) if row.times]
        rated = [self._rated(slot, since, least) for slot in rows]
        ratios = [0.0 if ratio is None else ratio for ratios in rated for ratio in ratios]
        bits = (MOVED, DEAD, LIMIT)
        measured = [sum(b for b, ratio in zip(bits, row, strict=True) if ratio is not None) for row in rated]
        return ReadOut(array("i", rows), self.export(rows), array("d", ratios), array("B", measured))

    def _rated(self, slot: int, since: int, least: int) -> tuple[float | None, float | None, float | None]:
        row, kind = self._rows[slot], self.slots[slot]
        dead = share = None
        if kind.channels and self._fired[slot].bit_count() >= least:
            dead = self._silent(slot, since) / kind.channels
        if kind.limits is not None and row.counts[0]:
            share = row.counts[5] * kind.limit_weight / row.counts[0]
        return row.moved, dead, share

    def export(self, slots: Sequence[int] | None = None) -> Packed:
        """Copy the sketches of these slots (all: None), in this order."""
        rows = [self._row(slot) for slot in (range(len(self._rows)) if slots is None else slots)]
        bins = [row.trimmed() for row in rows]
        wide = any(row.hist_n > _MOST_NARROW for row in rows)
        return Packed(
            counts=array("q", [count for row in rows for count in row.counts]),
            moments=array("d", [moment for row in rows for moment in row.moments]),
            hist_n=array("q", [row.hist_n for row in rows]),
            hist_zero=array("q", [row.hist_zero for row in rows]),
            hist_first=array("h", [first for first, _, _ in bins]),
            hist_width=array("h", [len(negative) for _, negative, _ in bins]),
            hist_counts=array(
                "q" if wide else "I", [n for _, negative, positive in bins for n in negative + positive]
            ),
        )

    def _row(self, row: int) -> _Row:
        if not 0 <= row < len(self._rows):
            raise IndexError(f"no slot {row} in a table of {len(self._rows)}")
        return self._rows[row]


class _Row:
    """One sketch."""

    def __init__(self, slot: Slot) -> None:
        self.limits = slot.limits
        #: Tensors that it was given, whatever was in them.
        self.times = 0
        self.moved: float | None = None
        self.counts = [0] * 6
        self.moments = [0.0, 0.0, math.inf, -math.inf]
        self.hist_n = 0
        self.hist_zero = 0
        #: By sign, negative first: counts by exponent.
        self.bins: tuple[Counter[int], Counter[int]] = (Counter(), Counter())

    def add(self, x: torch.Tensor, row: int, observation: int) -> None:
        self.times += 1
        finite = x[torch.isfinite(x)]
        limit = torch.zeros(0, device="cpu")
        if self.limits is not None:
            limit = (x <= self.limits[0]) | (x >= self.limits[1])
        seen = (torch.ones_like(x), torch.isnan(x), x == math.inf, x == -math.inf, x == 0, limit)
        self.counts = [old + int(mask.sum()) for old, mask in zip(self.counts, seen, strict=True)]
        self.moments[0] += float(finite.sum())
        self.moments[1] += float((finite * finite).sum())
        if len(finite):
            self.moments[2] = min(self.moments[2], float(finite.min()))
            self.moments[3] = max(self.moments[3], float(finite.max()))
        pieces = [
            x[start : start + PIECE]
            for piece, start in enumerate(range(0, len(x), PIECE))
            if sampled(piece, row, observation, len(x))
        ]
        if pieces:
            self.look(torch.cat(pieces))

    def look(self, x: torch.Tensor) -> None:
        self.hist_n += len(x)
        self.hist_zero += int((x == 0).sum())
        x = x[torch.isfinite(x) & (x != 0)]
        # frexp's mantissa lies in [0.5, 1), so its exponent is one above floor(log2|x|).
        exponent = torch.frexp(x).exponent.to(torch.int64) - 1
        for bins, of_sign in zip(self.bins, (exponent[x < 0], exponent[x > 0]), strict=True):
            exponents, counts = torch.unique(of_sign, return_counts=True)
            bins.update(dict(zip(exponents.tolist(), counts.tolist(), strict=True)))

    def trimmed(self) -> tuple[int, list[int], list[int]]:
        """Return the first exponent kept, and the negatives and positives from there to the last."""
        used = self.bins[0].keys() | self.bins[1].keys()
        if not used:
            return 0, [], []
        kept = range(min(used), max(used) + 1)
        negative, positive = ([bins[exponent] for exponent in kept] for bins in self.bins)
        return kept.start, negative, positive


def _active_channels(x: torch.Tensor, slot: Slot) -> list[int]:
    """Return the channels that hold an active element."""
    if slot.channels == 0:
        return []
    outer = len(x) // (slot.channels * slot.inner)
    x = x[: outer * slot.channels * slot.inner].reshape(outer, slot.channels, slot.inner)
    active = ~(x <= 0) if slot.active is Activity.POSITIVE else x != 0
    found: list[int] = torch.nonzero(active.any(2).any(0)).flatten().tolist()
    return found


def _check(tensor: torch.Tensor, slot: Slot | None = None) -> tuple[int, DType]:
    """Return a tensor's element count and type; ValueError when it cannot be read (to this slot)."""
    dtype = DType.of(tensor.dtype)
    if dtype is None:
        raise ValueError(f"tensors of {tensor.dtype} cannot be read")
    if slot is not None and dtype is not slot.dtype:
        raise ValueError(f"a tensor of {tensor.dtype} where {slot.dtype.name.lower()} belongs")
    if not tensor.is_cpu or not dense(tensor):
        raise ValueError(f"a tensor of {tensor.device} that does not lie in memory as one piece")
    return tensor.numel(), dtype


@undisturbed
def sum_squares(tensors: Sequence[torch.Tensor]) -> array[float]:
    """Sum of squares per tensor, 'd' [k]; NaN and Inf propagate."""
    for tensor in tensors:
        _check(tensor)
    return array("d", [float((x * x).sum()) for x in map(flat, tensors)])


class StridedSample:
    """See `tuimon_kernels.backend.StridedSample`."""

    def __init__(self, tensors: Sequence[torch.Tensor], limit: int = BLOCK) -> None:
        if limit < 1:
            raise ValueError(f"a sample needs at least one element, not {limit}")
        self._kinds = [_check(tensor) for tensor in tensors]
        self._strides = [sample_stride(n, limit) for n, _ in self._kinds]
        self._old: list[torch.Tensor] | None = None

    @undisturbed
    def take(self, tensors: Sequence[torch.Tensor]) -> None:
        """Copy the samples."""
        self._old = self._samples(tensors)

    @undisturbed
    def ratios(self, tensors: Sequence[torch.Tensor]) -> array[float]:
        """Return ``||new - old|| / ||old||`` over each sample, 'd' [k]."""
        if self._old is None:
            raise RuntimeError("there is nothing to compare with: call take() first")
        pairs = zip(self._samples(tensors), self._old, strict=True)
        return array("d", [_ratio(new, old) for new, old in pairs])

    def _samples(self, tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        if [_check(tensor) for tensor in tensors] != self._kinds:
            raise ValueError("the sampler was made for tensors of another number, size or type")
        return [_sample(tensor, stride) for tensor, stride in zip(tensors, self._strides, strict=True)]


def _sample(tensor: torch.Tensor, stride: int) -> torch.Tensor:
    if tensor.data_ptr() == 0:
        return torch.full((-(-tensor.numel() // stride),), math.nan, dtype=torch.float64, device="cpu")
    return flat(tensor)[::stride].clone()


def _ratio(new: torch.Tensor, old: torch.Tensor) -> float:
    moved, size = (float(torch.linalg.vector_norm(v)) for v in (new - old, old))
    if size == 0.0:
        return moved if math.isnan(moved) else (math.inf if moved > 0.0 else 0.0)
    return moved / size


def warm() -> Warmth:
    """Nothing to do: torch is loaded."""
    return Warmth(wall_s=0.0, compiled=False)


BACKEND = Backend("torch", SketchTable, sum_squares, StridedSample, warm)
