"""What Python asks each tensor for before a compiled call."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from tuimon_kernels.spec import DType

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Ints = npt.NDArray[np.int64]


def addresses(tensors: Sequence[torch.Tensor]) -> Ints:
    """Data pointers; 0 where there is no memory."""
    return np.fromiter(map(torch.Tensor.data_ptr, tensors), dtype=np.int64, count=len(tensors))


def sizes(tensors: Sequence[torch.Tensor]) -> Ints:
    """Element counts."""
    return np.fromiter(map(torch.Tensor.numel, tensors), dtype=np.int64, count=len(tensors))


def dtypes(tensors: Sequence[torch.Tensor]) -> Ints:
    """Codes of `DType`; ValueError for a type that has none."""
    known: dict[object, int] = {}
    codes = []
    for tensor in tensors:
        code = known.get(tensor.dtype)
        if code is None:
            dtype = DType.of(tensor.dtype)
            if dtype is None:
                raise ValueError(f"tensors of {tensor.dtype} cannot be read")
            code = known[tensor.dtype] = int(dtype)
        codes.append(code)
    return np.array(codes, dtype=np.int64)
