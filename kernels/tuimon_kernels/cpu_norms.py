"""Sums of squares alone, and strided samples."""

from __future__ import annotations

from typing import Any

import numpy as np

from tuimon_kernels.cpu_block import LEAST, MOST, half_bits, sums, widen
from tuimon_kernels.cpu_jit import carray, exact, float_of_bits, lanes, merged, pointer
from tuimon_kernels.spec import BLOCK, DType

i32 = np.int32

_FLOAT64, _FLOAT32, _FLOAT16 = int(DType.FLOAT64), int(DType.FLOAT32), int(DType.FLOAT16)


@lanes
def squares(values: Any) -> Any:
    """Sum of squares, accumulated in the type of the values."""
    q = values.dtype.type(0)
    for i in range(values.size):
        q += values[i] * values[i]
    return np.float64(q)


@exact
def block_squares(values: Any) -> Any:
    """Sum of squares of a block of fp32 numbers, redone in fp64 unless the fp32 result is safe."""
    q = squares(values)
    return q if LEAST <= q <= MOST else sums(values)[1]


@exact
def tensor_squares(address: int, n: int, dtype: int, buffer: int) -> Any:
    """Sum of squares of a tensor, fp64."""
    total = 0.0
    for start in range(0, n, BLOCK):
        m = min(BLOCK, n - start)
        if dtype == _FLOAT64:
            total += squares(carray(pointer(address + 8 * start), m, np.float64))
        elif dtype == _FLOAT32:
            total += block_squares(carray(pointer(address + 4 * start), m, np.float32))
        else:
            raw = carray(pointer(address + 2 * start), m, np.int16)
            widen(raw, dtype, carray(pointer(buffer), m, np.int32))
            total += block_squares(carray(pointer(buffer), m, np.float32))
    return total


@merged
def add_squares(addresses: Any, sizes: Any, dtypes: Any, buffer: int, out: Any) -> int:
    """Write the sum of squares of each tensor to `out`; NaN and infinities propagate."""
    for item in range(sizes.size):
        n = sizes[item] if addresses[item] != 0 else 0
        out[item] = tensor_squares(addresses[item], n, dtypes[item], buffer)
    return 0


@merged
def gather_all(
    addresses: Any,
    sizes: Any,
    dtypes: Any,
    strides: Any,
    starts: Any,
    samples: Any,
    wide_samples: Any,
) -> int:
    """Copy every stride-th element of each tensor to its samples, NaN where there is no memory.

    fp64 tensors go to `wide_samples`, the others to `samples`, from place starts[item] on.
    """
    for item in range(sizes.size):
        n, stride = sizes[item], strides[item]
        start, stop = starts[item], starts[item] + (n + stride - 1) // stride
        memory = pointer(addresses[item])
        if dtypes[item] == _FLOAT64:
            if addresses[item] == 0:
                wide_samples[start:stop] = np.nan
            else:
                copy_strided(carray(memory, n, np.float64), stride, wide_samples[start:stop])
        elif addresses[item] == 0:
            samples[start:stop] = np.nan
        elif dtypes[item] == _FLOAT32:
            copy_strided(carray(memory, n, np.float32), stride, samples[start:stop])
        else:
            copy_widened(carray(memory, n, np.int16), stride, dtypes[item], samples[start:stop])
    return 0


@exact
def copy_strided(values: Any, stride: int, out: Any) -> None:
    """Copy every stride-th element."""
    for i in range(out.size):
        out[i] = values[i * stride]


@exact
def copy_widened(raw: Any, stride: int, dtype: int, out: Any) -> None:
    """Copy every stride-th element of an fp16 or bf16 tensor (int16 bits) as fp32."""
    for i in range(out.size):
        h = i32(raw[i * stride])
        out[i] = float_of_bits(half_bits(h) if dtype == _FLOAT16 else i32(h << i32(16)))


@merged
def compare_all(
    old: Any,
    new: Any,
    wide_old: Any,
    wide_new: Any,
    sizes: Any,
    dtypes: Any,
    strides: Any,
    starts: Any,
    out: Any,
) -> int:
    """Write ``||new - old|| / ||old||`` of each sample to `out`, fp64; inf or 0 where ``||old|| == 0``."""
    for item in range(out.size):
        start, stop = starts[item], starts[item] + (sizes[item] + strides[item] - 1) // strides[item]
        if dtypes[item] == _FLOAT64:
            moved, size = distance(wide_old[start:stop], wide_new[start:stop])
        else:
            moved, size = distance(old[start:stop], new[start:stop])
        if size != 0.0:
            out[item] = np.sqrt(moved) / np.sqrt(size)
        elif moved == 0.0:
            out[item] = 0.0
        else:
            out[item] = moved * np.inf
    return 0


@lanes
def distance(old: Any, new: Any) -> Any:
    """Return ``(||new - old||^2, ||old||^2)``, in fp64."""
    moved = 0.0
    size = 0.0
    for i in range(old.size):
        before = np.float64(old[i])
        step = np.float64(new[i]) - before
        moved += step * step
        size += before * before
    return moved, size
