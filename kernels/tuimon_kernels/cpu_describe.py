"""Address, size and kind of many tensors in one compiled call, through torch's DLPack exchange functions.

Asking in Python takes 40 ns per tensor and question (CPython 3.11), and there are five; here a tensor takes
20 ns. The function `describe` calls fills a DLTensor (`dlpack.h`, 48 bytes) and keeps nothing.

A *kind* is the code of `DType`, or `UNREADABLE`: another device or type, memory that is not dense, or none of
its own (sparse, nested).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tuimon_kernels.cpu_jit import call_none, call_two, carray, exact, merged, pointer
from tuimon_kernels.spec import DType

UNREADABLE = -1

LIST_ITEMS = object.__basicsize__ + 8
"""Where in a list object of CPython the address of its items stands: behind its head and its length.

So a list is handed over as it is; to gather the addresses of its items first costs more than all the rest."""

LISTS_AS_KNOWN = (object.__basicsize__, list.__basicsize__) == (16, 40)
"""Whether lists are built that way: not in interpreters without a GIL, nor in some for debugging."""

DLTENSOR = 6
"""Words of a DLTensor: data, device, axes and type, shape, strides, offset."""

_FLOAT64, _FLOAT32, _FLOAT16, _BFLOAT16 = (int(dtype) for dtype in DType)
# Type codes of DLPack, and its code of the CPU.
_FLOAT, _BFLOAT, _CPU = 2, 4, 1


@exact
def dtype_code(code: int, bits: int, lanes: int) -> int:
    """Return the `DType` of a DLPack type, or `UNREADABLE`."""
    if lanes != 1:
        return UNREADABLE
    if code == _FLOAT and bits == 64:
        return _FLOAT64
    if code == _FLOAT and bits == 32:
        return _FLOAT32
    if code == _FLOAT and bits == 16:
        return _FLOAT16
    return _BFLOAT16 if code == _BFLOAT and bits == 16 else UNREADABLE


@exact
def is_contiguous(shape: Any, strides: Any) -> bool:
    """Whether the elements stand in memory in the order of their indices, without gaps."""
    expected = 1
    for axis in range(shape.size - 1, -1, -1):
        if shape[axis] != 1:
            if strides[axis] != expected:
                return False
            expected *= shape[axis]
    return True


@exact
def is_dense(shape: Any, strides: Any) -> bool:
    """Whether the elements fill one stretch of memory without gap or overlap, in any order of axes."""
    left = 0
    for axis in range(shape.size):
        left += shape[axis] != 1
    expected = 1
    while left:
        found = -1
        for axis in range(shape.size):
            if shape[axis] != 1 and strides[axis] == expected:
                found = axis
        if found < 0:
            return False
        expected *= shape[found]
        left -= 1
    return True


@merged
def describe_all(
    exchange: int, forget: int, tensors: int, addresses: Any, sizes: Any, kinds: Any, raw: int
) -> int:
    """Fill addresses, sizes and kinds of the tensors of a list object; return how many were unreadable.

    `exchange` is the address of ``dltensor_from_py_object_no_sync``, `forget` that of ``PyErr_Clear`` and
    `raw` that of one DLTensor. The caller holds the GIL, and the list has as many items as there are sizes.
    """
    ids = carray(pointer(carray(pointer(tensors + LIST_ITEMS), 1, np.int64)[0]), sizes.size, np.int64)
    words = carray(pointer(raw), DLTENSOR, np.int64)
    devices = carray(pointer(raw + 8), 2, np.int32)
    axes = carray(pointer(raw + 16), 1, np.int32)
    codes = carray(pointer(raw + 20), 2, np.uint8)
    lanes = carray(pointer(raw + 22), 1, np.uint16)
    unreadable = 0
    for item in range(ids.size):
        addresses[item], sizes[item], kinds[item] = 0, 0, UNREADABLE
        if call_two(exchange, ids[item], raw) != 0:
            call_none(forget)
            unreadable += 1
            continue
        shape = carray(pointer(words[3]), np.int64(axes[0]), np.int64)
        n = 1
        for length in shape:
            n *= length
        kind = dtype_code(np.int64(codes[0]), np.int64(codes[1]), np.int64(lanes[0]))
        strides = carray(pointer(words[4]), np.int64(axes[0]), np.int64)
        # Without elements strides mean nothing.
        dense = n == 0 or is_contiguous(shape, strides) or is_dense(shape, strides)
        if kind < 0 or devices[0] != _CPU or not dense:
            unreadable += 1
            continue
        addresses[item], sizes[item], kinds[item] = words[0] + words[5], n, kind
    return unreadable
