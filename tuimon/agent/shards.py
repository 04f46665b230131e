"""Tensors that several ranks hold together (FSDP2, tensor parallelism): the part that lies in this process.

Only that part is ever read. Whatever concerns the whole is a collective, in which all ranks must take part: from
a rank that is watched alone it would hang the training.
"""

from __future__ import annotations

import torch
from torch import nn

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
