"""The sketch in float64 torch: slow, obvious, and the oracle for every fast implementation."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch

from tuimon_kernels.backend import Backend, Warmth
from tuimon_kernels.spec import BLOCK, PIECE, Activity, DType, Packed, Slot, sampled
from tuimon_kernels.stride import sample_stride

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from tuimon_kernels.backend import Rows


def flat(tensor: torch.Tensor) -> torch.Tensor:
    """Return the elements of a dense tensor in memory order, float64 [n]; none without storage."""
    if tensor.data_ptr() == 0:
        return torch.empty(0, dtype=torch.float64)
    memory = torch.as_strided(tensor.detach(), (tensor.numel(),), (1,), tensor.storage_offset())
    return memory.to(torch.float64)


class SketchTable:
    """See `tuimon_kernels.backend.SketchTable`."""

    def __init__(self, slots: Sequence[Slot]) -> None:
        self.slots = tuple(slots)
        self._rows = [_Row(slot) for slot in self.slots]
        self._last_active = [torch.zeros(slot.channels, dtype=torch.int64) for slot in self.slots]

    def clear(self) -> None:
        """Empty all sketches; the last-active marks stay."""
        self._rows = [_Row(slot) for slot in self.slots]

    def accumulate(self, slots: Rows, tensors: Sequence[torch.Tensor], observation: int) -> None:
        """Add each tensor's elements to its slot's sketch."""
        rows = [int(row) for row in slots]
        if observation < 1:
            raise ValueError(f"observations are numbered from 1, not {observation}")
        if len(rows) != len(tensors):
            raise ValueError(f"{len(rows)} slots for {len(tensors)} tensors")
        for row in rows:
            self._row(row)
        for row, tensor in zip(rows, tensors, strict=True):
            x = flat(tensor)
            self._rows[row].add(x, row, observation)
            active = _active_channels(x, self.slots[row])
            self._last_active[row][active] = observation

    def silent(self, since: int, pairs: Sequence[tuple[int, int]] = ()) -> npt.NDArray[np.int64]:
        """Count, per slot, the channels last active before observation `since` (and in its pair)."""
        silent = [marks < since for marks in self._last_active]
        counts = [int(marks.sum()) for marks in silent]
        for a, b in pairs:
            if len(silent[a]) != len(silent[b]):
                raise ValueError(f"slots {a} and {b} have {len(silent[a])} and {len(silent[b])} channels")
            counts[a] = int((silent[a] & silent[b]).sum())
        return np.array(counts, dtype=np.int64)

    def export(self, slots: Rows | None = None) -> Packed:
        """Copy the sketches of these slots (all: None), in this order."""
        wanted = range(len(self._rows)) if slots is None else slots
        rows = [self._row(int(row)) for row in wanted]
        bins = [row.trimmed() for row in rows]
        kept = [part for _, negative, positive in bins for part in (negative, positive)]
        wide = any(row.hist_n > np.iinfo(np.uint32).max for row in rows)
        counts = np.array([row.counts for row in rows], dtype=np.int64)
        moments = np.array([row.moments for row in rows], dtype=np.float64)
        return Packed(
            counts=counts.reshape(len(rows), 6),
            moments=moments.reshape(len(rows), 4),
            hist_n=np.array([row.hist_n for row in rows], dtype=np.int64),
            hist_zero=np.array([row.hist_zero for row in rows], dtype=np.int64),
            hist_first=np.array([first for first, _, _ in bins], dtype=np.int16),
            hist_width=np.array([len(negative) for _, negative, _ in bins], dtype=np.int16),
            hist_counts=np.array([c for part in kept for c in part], dtype=np.int64 if wide else np.uint32),
        )

    def _row(self, row: int) -> _Row:
        if not 0 <= row < len(self._rows):
            raise IndexError(f"no slot {row} in a table of {len(self._rows)}")
        return self._rows[row]


class _Row:
    """One sketch."""

    def __init__(self, slot: Slot) -> None:
        self.limits = slot.limits
        self.first, self.last = slot.dtype.exponents
        self.counts = [0] * 6
        self.moments = [0.0, 0.0, math.inf, -math.inf]
        self.hist_n = 0
        self.hist_zero = 0
        self.bins = torch.zeros(2, self.last - self.first + 1, dtype=torch.int64)

    def add(self, x: torch.Tensor, row: int, observation: int) -> None:
        finite = x[torch.isfinite(x)]
        limit = torch.zeros(0)
        if self.limits is not None:
            limit = (x <= self.limits[0]) | (x >= self.limits[1])
        seen = (torch.ones_like(x), torch.isnan(x), x == math.inf, x == -math.inf, x == 0, limit)
        self.counts = [old + int(mask.sum()) for old, mask in zip(self.counts, seen, strict=True)]
        self.moments[0] += float(finite.sum())
        self.moments[1] += float((finite * finite).sum())
        if len(finite):
            self.moments[2] = min(self.moments[2], float(finite.min()))
            self.moments[3] = max(self.moments[3], float(finite.max()))
        for piece, start in enumerate(range(0, len(x), PIECE)):
            if sampled(piece, row, observation, len(x)):
                self.look(x[start : start + PIECE])

    def look(self, x: torch.Tensor) -> None:
        self.hist_n += len(x)
        self.hist_zero += int((x == 0).sum())
        x = x[torch.isfinite(x) & (x != 0)]
        # frexp's mantissa lies in [0.5, 1), so its exponent is one above floor(log2|x|).
        exponent = torch.frexp(x).exponent.to(torch.int64) - 1
        for sign, of_sign in enumerate((exponent[x < 0], exponent[x > 0])):
            self.bins[sign] += torch.bincount(of_sign - self.first, minlength=self.bins.shape[1])

    def trimmed(self) -> tuple[int, list[int], list[int]]:
        """Return the first exponent kept, and the negatives and positives from there to the last."""
        used = torch.nonzero(self.bins.sum(0)).flatten()
        if len(used) == 0:
            return 0, [], []
        low, high = int(used[0]), int(used[-1])
        negative, positive = self.bins[:, low : high + 1].tolist()
        return self.first + low, negative, positive


def _active_channels(x: torch.Tensor, slot: Slot) -> torch.Tensor:
    """Return which channels hold an active element, bool [channels]."""
    if slot.channels == 0:
        return torch.zeros(0, dtype=torch.bool)
    outer = len(x) // (slot.channels * slot.inner)
    x = x[: outer * slot.channels * slot.inner].reshape(outer, slot.channels, slot.inner)
    active = ~(x <= 0) if slot.active is Activity.POSITIVE else x != 0
    return active.any(2).any(0)


def sum_squares(tensors: Sequence[torch.Tensor]) -> npt.NDArray[np.float64]:
    """Sum of squares per tensor, float64 [k]; NaN and Inf propagate."""
    for tensor in tensors:
        _kind(tensor)
    return np.array([float((x * x).sum()) for x in map(flat, tensors)], dtype=np.float64)


class StridedSample:
    """See `tuimon_kernels.backend.StridedSample`."""

    def __init__(self, tensors: Sequence[torch.Tensor], limit: int = BLOCK) -> None:
        if limit < 1:
            raise ValueError(f"a sample needs at least one element, not {limit}")
        self._kinds = [_kind(tensor) for tensor in tensors]
        self._strides = [sample_stride(n, limit) for n, _ in self._kinds]
        self._old: list[torch.Tensor] | None = None

    def take(self, tensors: Sequence[torch.Tensor]) -> None:
        """Copy the samples."""
        self._old = self._samples(tensors)

    def ratios(self, tensors: Sequence[torch.Tensor]) -> npt.NDArray[np.float64]:
        """Return ``||new - old|| / ||old||`` over each sample, float64 [k]."""
        if self._old is None:
            raise RuntimeError("there is nothing to compare with: call take() first")
        pairs = zip(self._samples(tensors), self._old, strict=True)
        return np.array([_ratio(new, old) for new, old in pairs], dtype=np.float64)

    def _samples(self, tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        if [_kind(tensor) for tensor in tensors] != self._kinds:
            raise ValueError("the sampler was made for tensors of another number, size or type")
        return [_sample(tensor, stride) for tensor, stride in zip(tensors, self._strides, strict=True)]


def _sample(tensor: torch.Tensor, stride: int) -> torch.Tensor:
    if tensor.data_ptr() == 0:
        return torch.full((-(-tensor.numel() // stride),), math.nan, dtype=torch.float64)
    return flat(tensor)[::stride].clone()


def _kind(tensor: torch.Tensor) -> tuple[int, DType]:
    dtype = DType.of(tensor.dtype)
    if dtype is None:
        raise ValueError(f"tensors of {tensor.dtype} cannot be read")
    return tensor.numel(), dtype


def _ratio(new: torch.Tensor, old: torch.Tensor) -> float:
    moved, size = (float(torch.linalg.vector_norm(v)) for v in (new - old, old))
    if size == 0.0:
        return moved if math.isnan(moved) else (math.inf if moved > 0.0 else 0.0)
    return moved / size


def warm() -> Warmth:
    """Nothing to do: torch is loaded."""
    return Warmth(wall_s=0.0, compiled=False)


BACKEND = Backend("torch", SketchTable, sum_squares, StridedSample, warm)
