"""Strided samples on the CPU."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

import numpy as np

from tuimon_kernels.cpu_entries import entries
from tuimon_kernels.cpu_tensors import Facts, dtypes, why_not
from tuimon_kernels.spec import BLOCK, DType
from tuimon_kernels.stride import sample_stride

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch


class StridedSample:
    """See `tuimon_kernels.backend.StridedSample`."""

    def __init__(self, tensors: Sequence[torch.Tensor], limit: int = BLOCK) -> None:
        if limit < 1:
            raise ValueError(f"a sample needs at least one element, not {limit}")
        self._entries, self._facts = entries(), Facts()
        self._dtypes = np.array(dtypes(tensors), dtype=np.int64)
        self._sizes = np.array([tensor.numel() for tensor in tensors], dtype=np.int64)
        self._strides = np.array([sample_stride(n, limit) for n in self._sizes.tolist()], dtype=np.int64)
        kept = -(-self._sizes // self._strides)
        wide = self._dtypes == int(DType.FLOAT64)
        # fp64 samples stand in an array of their own: fp32 holds all others exactly, in half the memory.
        kept_narrow, kept_wide = np.where(wide, 0, kept), np.where(wide, kept, 0)
        self._starts = np.where(wide, np.cumsum(kept_wide) - kept_wide, np.cumsum(kept_narrow) - kept_narrow)
        self._samples = [np.empty(kept_narrow.sum(), dtype=np.float32) for _ in range(2)]
        self._wide_samples = [np.empty(kept_wide.sum()) for _ in range(2)]
        plan = (self._sizes, self._dtypes, self._strides, self._starts, *self._samples, *self._wide_samples)
        # Described once: see `cpu_norms`. The arrays above live as long as their addresses.
        self._words = array("q", [len(tensors), *(column.ctypes.data for column in plan)])
        self._sampler = self._words.buffer_info()[0]
        self._taken = False

    def take(self, tensors: Sequence[torch.Tensor]) -> None:
        """Copy the samples."""
        self._gather(tensors, 0)
        self._taken = True

    def ratios(self, tensors: Sequence[torch.Tensor]) -> array[float]:
        """Return ``||new - old|| / ||old||`` over each sample, 'd' [k]."""
        if not self._taken:
            raise RuntimeError("there is nothing to compare with: call take() first")
        self._gather(tensors, 1)
        out = array("d", bytes(8 * len(self._sizes)))
        self._entries.compare(self._sampler, out.buffer_info()[0])
        return out

    def _gather(self, tensors: Sequence[torch.Tensor], place: int) -> None:
        if len(tensors) != len(self._sizes):
            raise ValueError(f"the sampler was made for {len(self._sizes)} tensors, not for {len(tensors)}")
        facts = self._facts
        facts.read(tensors)
        wrong = self._entries.gather(self._sampler, facts.addresses, facts.sizes, facts.kinds, place)
        if wrong >= 0:
            why = why_not(tensors[wrong], DType(int(self._dtypes[wrong])))
            raise ValueError(f"the sampler was made for tensors of another number, size or type ({why})")
