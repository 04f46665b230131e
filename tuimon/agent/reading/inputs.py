"""The batch that a root is called with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from tuimon.agent.reading.rows import RowTable
from tuimon.records.layout import TensorInfo, TensorKind
from tuimon_kernels import slot_for
from tuimon_kernels.undisturbed import undisturbed

#: Whole numbers (tokens, labels) are copied to be read; beyond this many elements they are left alone.
LARGEST_COPY = 1 << 20


class InputProbe:
    """Reads the tensors among a root's arguments."""

    def __init__(self, rows: RowTable) -> None:
        self._rows = rows
        self._slots: dict[tuple[str, torch.dtype], int] = {}

    @undisturbed
    def read(self, args: Any, kwargs: Any) -> None:
        """Add each tensor to its row: "input" for the first, then "input.1", or "input.NAME"."""
        for name, tensor in _tensors(args, kwargs):
            readable = _readable(tensor)
            if readable is None:
                continue
            key = name, readable.dtype
            slot = self._slots.get(key)
            if slot is None:
                made = slot_for(readable)
                if made is None:
                    continue
                dtype = str(tensor.dtype).removeprefix("torch.")
                info = TensorInfo(name, TensorKind.INPUT, None, dtype, tuple(tensor.shape))
                slot = self._slots[key] = self._rows.add(made, info)
            self._rows.accumulate([slot], (readable,))


def _tensors(args: Any, kwargs: Any) -> Iterator[tuple[str, torch.Tensor]]:
    for i, value in enumerate(args):
        if isinstance(value, torch.Tensor):
            yield ("input" if i == 0 else f"input.{i}"), value
    for name, value in kwargs.items():
        if isinstance(value, torch.Tensor):
            yield f"input.{name}", value


def _readable(tensor: torch.Tensor) -> torch.Tensor | None:
    """The same numbers as a dense floating tensor; None where no kernel reads them."""
    if not tensor.is_cpu or tensor.layout is not torch.strided:
        return None
    tensor = tensor.detach()
    if tensor.is_floating_point():
        return tensor if tensor.is_contiguous() else tensor.contiguous()
    if tensor.is_complex() or tensor.numel() > LARGEST_COPY:
        return None
    return tensor.to(torch.float64).contiguous()
