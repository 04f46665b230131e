"""One call of a loss function as numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from tuimon.agent.loss.labels import read_labels
from tuimon.agent.loss.loss_functions import Reads
from tuimon.agent.reading.transforms import transforming

if TYPE_CHECKING:
    from collections.abc import Callable

    from tuimon.agent.loss.labels import Labels
    from tuimon.agent.loss.loss_functions import Call

_PLAIN = (torch.Tensor, torch.nn.Parameter)
_NO_DISPATCH = torch.Tensor.__torch_dispatch__
_in_backward: Callable[[], int] = getattr(torch._C, "_current_graph_task_id", lambda: -1)
_modes: Callable[[], int] = getattr(torch._C, "_len_torch_dispatch_stack", lambda: 0)

#: So many targets are counted as a list: 3 us for 128 of them, where three operations of torch take 19 in a
#: training, whose caches hold none of their code (torch 2.13, one EPYC core).
FEW = 256


@dataclass(slots=True, eq=False)
class Reading:
    """What one call is worth."""

    #: As returned; the mean of the elements where they were returned singly. None where not readable.
    value: float | None
    reduction: str
    #: Elements that count; None where that is not known.
    n: int | None
    #: What a mean over several calls weighs this one with, and what it multiplies `value` with.
    weight: float
    total: float | None
    #: Classes by the shape of the scores, also where nothing else was read.
    classes: int | None = None
    labels: Labels | None = None


def readable(call: Call) -> bool:
    """Whether this call computed with numbers of its own, where looking at them changes nothing.

    Not a tracer's stand-ins, the parts of a distributed tensor, a vmap's batch; not under a mode that sees
    each operation; and not the second run of a checkpointed part, inside of backward.
    """
    ordinary = all(type(one) in _PLAIN or _has_memory(one) for one in call.tensors)
    return ordinary and not _modes() and transforming() is None and _in_backward() == -1


def plain(call: Call) -> bool:
    """Whether no tensor of it is of a class with ideas of its own about functions (fastai's are)."""
    return all(type(one) in _PLAIN for one in call.tensors)


def _has_memory(one: Any) -> bool:
    """Whether this is a tensor, of a class that leaves operations alone."""
    return isinstance(one, torch.Tensor) and type(one).__torch_dispatch__ is _NO_DISPATCH


def read(call: Call, labels: bool, turn: int) -> Reading:
    """Read one call that is `readable`, and with `labels` what it tells about classes (see `read_labels`)."""
    function, reduction = call.function, call.reduction
    shape, result = call.input.shape, call.result.detach()
    classes = None
    if function.reads is Reads.CLASSES:
        classes = shape[1] if len(shape) > 1 else shape.numel()
    elif function.reads is Reads.BINARY:
        classes = 2
    n = function.elements(shape, reduction)
    if not (result.is_cpu and call.target.is_cpu):
        # Whatever is read of a device makes the training wait for it.
        return Reading(None, reduction, None if call.ignore_index is not None else n, 0.0, None, classes)
    n, weight = _counted(call, n)
    value = float(result.sum() if reduction == "none" else result)
    whole = value * weight if reduction == "mean" else value
    if reduction == "none":
        value = value / n if n else float("nan")
    elif reduction == "sum" and function.per_row:
        value, reduction = value / max(n, 1), "batchmean"
    # A batch whose targets are all ignored has a mean of NaN that counts for nothing.
    # Mostly none is ignored, and then there is nothing to leave out, at some cost.
    ignores = n < call.target.numel()
    found = read_labels(call, turn, ignores) if labels else None
    return Reading(value, reduction, n, weight, whole if n else 0.0, classes, found)


def _counted(call: Call, n: int) -> tuple[int, float]:
    """Elements that are not ignored, and what a mean over them was divided by."""
    target = call.target.detach()
    if call.function.reads is not Reads.CLASSES or target.is_floating_point():
        return n, float(n)
    weights, ignored = call.argument(call.function.weight, "weight"), call.ignore_index
    weighted = isinstance(weights, torch.Tensor) and call.reduction == "mean"
    if ignored is not None and not weighted and target.dim() == 1 and len(target) <= FEW:
        n -= target.tolist().count(ignored)
        return n, float(n)
    kept = None
    if ignored is not None:
        kept = target != ignored
        n = int(kept.sum())
    if weighted:
        return n, float(weights.detach()[target if kept is None else target[kept]].sum())
    return n, float(n)
