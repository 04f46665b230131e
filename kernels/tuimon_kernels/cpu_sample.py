"""Strided samples on the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tuimon_kernels.cpu_entries import entries
from tuimon_kernels.cpu_tensors import addresses, dtypes, sizes
from tuimon_kernels.spec import BLOCK, DType
from tuimon_kernels.stride import sample_stride

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    import torch

    _Samples = tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]


class StridedSample:
    """See `tuimon_kernels.backend.StridedSample`."""

    def __init__(self, tensors: Sequence[torch.Tensor], limit: int = BLOCK) -> None:
        if limit < 1:
            raise ValueError(f"a sample needs at least one element, not {limit}")
        self._entries = entries()
        self._sizes, self._dtypes = sizes(tensors), dtypes(tensors)
        self._strides = np.array([sample_stride(n, limit) for n in self._sizes.tolist()], dtype=np.int64)
        kept = -(-self._sizes // self._strides)
        wide = self._dtypes == int(DType.FLOAT64)
        # fp64 samples stand in an array of their own: fp32 holds all others exactly, in half the memory.
        kept_narrow, kept_wide = np.where(wide, 0, kept), np.where(wide, kept, 0)
        self._starts = np.where(wide, np.cumsum(kept_wide) - kept_wide, np.cumsum(kept_narrow) - kept_narrow)
        self._old = np.empty(kept_narrow.sum(), dtype=np.float32), np.empty(kept_wide.sum(), dtype=np.float64)
        self._new = np.empty_like(self._old[0]), np.empty_like(self._old[1])
        self._taken = False

    def take(self, tensors: Sequence[torch.Tensor]) -> None:
        """Copy the samples."""
        self._gather(tensors, self._old)
        self._taken = True

    def ratios(self, tensors: Sequence[torch.Tensor]) -> npt.NDArray[np.float64]:
        """Return ``||new - old|| / ||old||`` over each sample, float64 [k]."""
        if not self._taken:
            raise RuntimeError("there is nothing to compare with: call take() first")
        self._gather(tensors, self._new)
        out = np.empty(len(self._sizes))
        (old, wide_old), (new, wide_new) = self._old, self._new
        self._entries.compare(
            old, new, wide_old, wide_new, self._sizes, self._dtypes, self._strides, self._starts, out
        )
        return out

    def _gather(self, tensors: Sequence[torch.Tensor], samples: _Samples) -> None:
        now, kinds = sizes(tensors), dtypes(tensors)
        if not (np.array_equal(now, self._sizes) and np.array_equal(kinds, self._dtypes)):
            raise ValueError("the sampler was made for tensors of another number, size or type")
        self._entries.gather(addresses(tensors), now, kinds, self._strides, self._starts, *samples)
