"""Tensors that several ranks hold together (FSDP2, tensor parallelism): the part that lies in this process.

Only that part is ever read. Whatever concerns the whole is a collective, in which all ranks must take part:
from a rank that is watched alone it would hang the training.
"""

from __future__ import annotations

import os

import torch
from torch import distributed, nn

_WHOLE = (torch.Tensor, nn.Parameter)


def local(tensor: torch.Tensor) -> torch.Tensor:
    """What this process holds of a tensor; an ordinary tensor is its own part.

    The part is the very tensor inside, not a view of it: what writes to the one changes the version of the
    other.
    """
    if type(tensor) in _WHOLE:
        return tensor
    # `DTensor.to_local` returns this one without gradients; with them, or for a parameter, it makes a view.
    part = getattr(tensor, "_local_tensor", None)
    return part if isinstance(part, torch.Tensor) else tensor


def whole_shape(tensor: torch.Tensor) -> tuple[int, ...] | None:
    """The shape of the whole tensor where this process holds only a part of it; else None."""
    if type(tensor) in _WHOLE:
        return None
    placements = getattr(tensor, "placements", ())
    return None if all(placement.is_replicate() for placement in placements) else tuple(tensor.shape)


def own_type(module: nn.Module) -> type[nn.Module]:
    """The class as the user wrote it: `fully_shard` gives a module one of its own, FSDPLinear for Linear."""
    kind = type(module)
    return kind.__bases__[-1] if kind.__bases__[0].__name__ == "FSDPModule" else kind


def rank() -> int | None:
    """This process's number among those that train together; None where it trains alone."""
    return distributed.get_rank() if _grouped() else _number("RANK")


def world_size() -> int | None:
    """How many processes train together; None where one trains alone."""
    return distributed.get_world_size() if _grouped() else _number("WORLD_SIZE")


def _grouped() -> bool:
    return distributed.is_available() and distributed.is_initialized()


def _number(variable: str) -> int | None:
    # As a launcher says before the processes have met.
    value = os.environ.get(variable, "")
    return int(value) if value.isdecimal() else None
