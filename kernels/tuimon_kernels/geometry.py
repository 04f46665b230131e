"""The geometry of real tensors: is the memory dense, and where in it do the channels stand.

Asks tensors for shape, strides and type only, so it needs no torch of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tuimon_kernels.spec import Activity, DType, Layout, Slot

if TYPE_CHECKING:
    import torch


def dense(tensor: torch.Tensor) -> bool:
    """Whether the elements fill one stretch of memory without gap or overlap, in any order of axes.

    Contiguous, channels_last and transposed tensors are dense; expanded and sliced ones are not. Statistics
    do not ask for the order, so a dense tensor may be read as flat memory from its data pointer on. Tensors
    that have no strides (sparse, nested) are not dense.
    """
    if str(tensor.layout) != "torch.strided" or tensor.is_nested:
        return False
    if tensor.is_contiguous():
        return True
    expected = 1
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size == 1:
            continue
        if stride != expected:
            return False
        expected *= size
    return True


def slot_for(
    tensor: torch.Tensor,
    *,
    channel_axis: int | None = None,
    active: Activity = Activity.POSITIVE,
    limits: tuple[float, float] | None = None,
) -> Slot | None:
    """Return the slot that describes this tensor, None when its memory is not dense or its type unknown.

    The caller then makes the tensor contiguous (or of a known type), or leaves it. `channel_axis` may be
    negative; IndexError when the tensor has no such axis.
    """
    dtype = DType.of(tensor.dtype)
    if dtype is None or not dense(tensor):
        return None
    n = tensor.numel()
    if channel_axis is None:
        return Slot(n, dtype, active=active, limits=limits)
    if not -tensor.dim() <= channel_axis < tensor.dim():
        raise IndexError(f"no axis {channel_axis} in a tensor of {tensor.dim()} axes")
    channels = tensor.shape[channel_axis]
    if channels == 0:
        return Slot(n, dtype, active=active, limits=limits)
    inner = _inner(tensor, channel_axis % tensor.dim())
    layout = Layout.ROWS if inner == 1 and channels > 1 else Layout.PLANES
    return Slot(n, dtype, channels, layout, inner, active, limits)


def _inner(tensor: torch.Tensor, channel_axis: int) -> int:
    """Elements that lie between two neighbours of the channel axis in memory; at least 1.

    A single channel owns everything, in any layout; what an item of the first axis holds is then the plane.
    """
    if tensor.shape[channel_axis] > 1:
        return max(1, tensor.stride(channel_axis))
    first = 1 if channel_axis == 0 else tensor.shape[0]
    return max(1, tensor.numel() // max(1, first))
