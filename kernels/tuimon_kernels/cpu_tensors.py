"""What is asked of each tensor before a compiled call: where it lies, how large, and of what kind."""

from __future__ import annotations

import ctypes
import functools
from array import array
from typing import TYPE_CHECKING

import torch

from tuimon_kernels.cpu_describe import DLTENSOR, LISTS_AS_KNOWN, UNREADABLE
from tuimon_kernels.cpu_entries import entries
from tuimon_kernels.geometry import dense
from tuimon_kernels.spec import DType

if TYPE_CHECKING:
    from collections.abc import Sequence

_FEW = 16


class Facts:
    """Addresses, sizes and kinds (see `cpu_describe`) of the tensors read last, int64.

    They hold as long as the tensors keep their memory: between two calls, not longer. One thread at a time.
    """

    def __init__(self, functions: tuple[int, int] | None = None) -> None:
        self._entries = entries()
        self._exchange, self._forget = exchange() if functions is None else functions
        self._make_room(_FEW)

    def _make_room(self, capacity: int) -> None:
        self._capacity = capacity
        self._memory = array("q", [0]) * (3 * capacity + DLTENSOR)
        #: Where the columns stand in memory.
        self.addresses = self._memory.buffer_info()[0]
        self.sizes, self.kinds = self.addresses + 8 * capacity, self.addresses + 16 * capacity
        self._raw = self.addresses + 24 * capacity

    def read(self, tensors: Sequence[torch.Tensor]) -> None:
        """Ask these tensors."""
        k = len(tensors)
        if k > self._capacity:
            self._make_room(2 * k)
        if self._exchange:
            listed = tensors if type(tensors) is list else list(tensors)
            self._entries.describe(
                self._exchange,
                self._forget,
                id(listed),
                k,
                self.addresses,
                self.sizes,
                self.kinds,
                self._raw,
            )
            return
        asked = [_asked(tensor) for tensor in tensors]
        for column in range(3):
            start = column * self._capacity
            self._memory[start : start + k] = array("q", [facts[column] for facts in asked])

    def columns(self, k: int) -> tuple[list[int], list[int], list[int]]:
        """The facts of the first `k` tensors, as lists."""
        starts = (0, self._capacity, 2 * self._capacity)
        addresses, sizes, kinds = (self._memory[start : start + k].tolist() for start in starts)
        return addresses, sizes, kinds


def _asked(tensor: torch.Tensor) -> tuple[int, int, int]:
    """The facts of one tensor, asked in Python."""
    dtype = DType.of(tensor.dtype)
    if dtype is None or not tensor.is_cpu or not dense(tensor):
        return 0, 0, UNREADABLE
    return tensor.data_ptr(), tensor.numel(), int(dtype)


def dtypes(tensors: Sequence[torch.Tensor]) -> list[DType]:
    """The types of these tensors; ValueError for one that cannot be read."""
    found = []
    for tensor in tensors:
        dtype = DType.of(tensor.dtype)
        if dtype is None:
            raise ValueError(why_not(tensor))
        found.append(dtype)
    return found


def why_not(tensor: torch.Tensor, wanted: DType | None = None) -> str:
    """Why a tensor cannot be read, or not as `wanted`."""
    dtype = DType.of(tensor.dtype)
    if dtype is None:
        return f"tensors of {tensor.dtype} cannot be read"
    if wanted is not None and dtype is not wanted:
        return f"a tensor of {tensor.dtype} where {wanted.name.lower()} belongs"
    return f"a tensor of {tensor.device} that does not lie in memory as one piece"


@functools.cache
def exchange() -> tuple[int, int]:
    """Addresses of torch's ``dltensor_from_py_object_no_sync`` and of ``PyErr_Clear``; zeros without them.

    Torch offers it from 2.10 on, as the DLPack exchange API of version 1. It is tried on a few tensors before
    it is trusted.
    """
    capsule = getattr(torch.Tensor, "__dlpack_c_exchange_api__", None)
    if capsule is None or not LISTS_AS_KNOWN:
        return 0, 0
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    try:
        table = get(capsule, b"dlpack_exchange_api")
    except ValueError:
        return 0, 0
    # DLPackExchangeAPI: version (two uint32), an older API, then functions, of which the fourth is ours.
    words = (ctypes.c_uint64 * 6).from_address(table)
    clear = ctypes.cast(ctypes.pythonapi.PyErr_Clear, ctypes.c_void_p).value
    if words[0] & 0xFFFFFFFF != 1 or not words[5] or not clear:
        return 0, 0
    return (words[5], clear) if _agrees((words[5], clear)) else (0, 0)


def _agrees(functions: tuple[int, int]) -> bool:
    """Whether the exchange function tells the same as the tensors themselves."""
    base = torch.empty(6, 4, device="cpu", dtype=torch.float32)
    half = torch.empty(5, device="cpu", dtype=torch.bfloat16)
    tensors = [base, base.t(), base[1:, 1:], half[1:], base.to(torch.int64), torch.nn.Parameter(base)]
    told, asked = Facts(functions), Facts((0, 0))
    told.read(tensors)
    asked.read(tensors)
    return told.columns(len(tensors)) == asked.columns(len(tensors))
