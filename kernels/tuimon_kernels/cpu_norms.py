"""Sums of squares alone, and strided samples.

A sampler is described by int64 [`WORDS`]: the number of tensors, then the addresses of their sizes, dtypes,
strides and the places where their samples begin (int64), and of the samples before and after, first fp32
(all narrow types), then fp64.
"""

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
def add_squares(addresses: int, sizes: int, kinds: int, k: int, buffer: int, out: int) -> int:
    """Write the sum of squares of each of k tensors to `out`, fp64; NaN and infinities propagate.

    Returns the first item that is not dense memory of a known type, else -1.
    """
    at, lengths = carray(pointer(addresses), k, np.int64), carray(pointer(sizes), k, np.int64)
    of, squares_ = carray(pointer(kinds), k, np.int64), carray(pointer(out), k, np.float64)
    for item in range(k):
        if of[item] < 0:
            return item
        n = lengths[item] if at[item] != 0 else 0
        squares_[item] = tensor_squares(at[item], n, of[item], buffer)
    return -1


WORDS = 9


@merged
def gather_all(described: int, addresses: int, sizes: int, kinds: int, place: int) -> int:
    """Copy every stride-th element of each tensor to its samples, NaN where there is no memory.

    `place` is 0 before, 1 after. Returns -1, or the first tensor that is not as the sampler knows it, with
    nothing copied.
    """
    sampler = carray(pointer(described), WORDS, np.int64)
    k = sampler[0]
    known, types = carray(pointer(sampler[1]), k, np.int64), carray(pointer(sampler[2]), k, np.int64)
    strides, starts = carray(pointer(sampler[3]), k, np.int64), carray(pointer(sampler[4]), k, np.int64)
    at, lengths = carray(pointer(addresses), k, np.int64), carray(pointer(sizes), k, np.int64)
    of = carray(pointer(kinds), k, np.int64)
    for item in range(k):
        if of[item] != types[item] or lengths[item] != known[item]:
            return item
    for item in range(k):
        n, stride, dtype = lengths[item], strides[item], types[item]
        wide = dtype == _FLOAT64
        kept = (n + stride - 1) // stride
        to = sampler[(7 if wide else 5) + place] + (8 if wide else 4) * starts[item]
        gather_one(at[item], n, stride, dtype, to, kept)
    return -1


@exact
def gather_one(address: int, n: int, stride: int, dtype: int, to: int, kept: int) -> None:
    """Copy every stride-th element of a tensor."""
    if dtype == _FLOAT64:
        wide = carray(pointer(to), kept, np.float64)
        if address == 0:
            wide[:] = np.nan
        else:
            copy_strided(carray(pointer(address), n, np.float64), stride, wide)
        return
    narrow = carray(pointer(to), kept, np.float32)
    if address == 0:
        narrow[:] = np.float32(np.nan)
    elif dtype == _FLOAT32:
        copy_strided(carray(pointer(address), n, np.float32), stride, narrow)
    else:
        copy_widened(carray(pointer(address), n, np.int16), stride, dtype, narrow)


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
def compare_all(described: int, out: int) -> int:
    """Write ``||new - old|| / ||old||`` of each sample to `out`, fp64; inf or 0 where ``||old|| == 0``."""
    sampler = carray(pointer(described), WORDS, np.int64)
    k = sampler[0]
    sizes, types = carray(pointer(sampler[1]), k, np.int64), carray(pointer(sampler[2]), k, np.int64)
    strides, starts = carray(pointer(sampler[3]), k, np.int64), carray(pointer(sampler[4]), k, np.int64)
    ratios = carray(pointer(out), k, np.float64)
    for item in range(k):
        kept = (sizes[item] + strides[item] - 1) // strides[item]
        if types[item] == _FLOAT64:
            old, new = sampler[7] + 8 * starts[item], sampler[8] + 8 * starts[item]
            moved, size = distance(
                carray(pointer(old), kept, np.float64), carray(pointer(new), kept, np.float64)
            )
        else:
            old, new = sampler[5] + 4 * starts[item], sampler[6] + 4 * starts[item]
            moved, size = distance(
                carray(pointer(old), kept, np.float32), carray(pointer(new), kept, np.float32)
            )
        if size != 0.0:
            ratios[item] = np.sqrt(moved) / np.sqrt(size)
        elif moved == 0.0:
            ratios[item] = 0.0
        else:
            ratios[item] = moved * np.inf
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
