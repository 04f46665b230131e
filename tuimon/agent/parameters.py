"""Gradients that the optimizers applied, weights after the step, and how far they moved.

Gradients are read behind the optimizer's step: unscaled, averaged over ranks, after clipping, and right
with closures too. What they were before clipping is read at the end of backward, but only when something
was seen to write to them between there and the step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from tuimon.agent.rows import RowTable
from tuimon.agent.shards import local, whole_shape
from tuimon.records.layout import TensorInfo, TensorKind
from tuimon_kernels import Backend, Slot, dense, slot_for

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import nn

    from tuimon.agent.inventory import Inventory, WatchedParameter
    from tuimon_kernels.backend import StridedSample

    Floats = npt.NDArray[np.float64]
    Ints = npt.NDArray[np.int64]

#: Elements of each weight that the update ratio is estimated from. On 31.5 M weights under AdamW the error
#: was 0.3 % in the median and 2.8 % at worst with 4096; with 1024 it is about twice that, at a quarter of
#: the cache lines touched, which on narrow networks is most of the cost.
UPDATE_ELEMENTS = 1024


@dataclass(slots=True, eq=False)
class _Group:
    """The parameters of one optimizer, as this probe reads them."""

    #: Positions in the inventory, of those that a kernel reads.
    positions: list[int]
    parameters: list[nn.Parameter]
    gradient_slots: list[int]
    weight_slots: Ints
    sample: StridedSample
    #: Whether the weights were sampled before the step that is running.
    taken: bool = False


class ParameterProbe:
    """Reads what the optimizers did in an observed step."""

    def __init__(self, inventory: Inventory, table: RowTable, backend: Backend) -> None:
        self._inventory, self._table, self._backend = inventory, table, backend
        #: Rows of each parameter's gradient and weight; None for what no kernel reads.
        self.gradient_slots: list[int | None] = []
        self.weight_slots: list[int | None] = []
        self._groups: dict[tuple[int, ...], _Group] = {}
        #: Update ratios of this step by slot; -inf where none was measured.
        self._updates: Floats = np.zeros(0)
        #: At the end of backward: sums of squares by position, the gradients, and how often written to.
        self._preclip_sq: dict[int, float] = {}
        self._marks: dict[int, tuple[torch.Tensor, int]] = {}
        self._changed = False
        self._applied_sq: list[float] = []
        #: Whether something writes to the gradients before the step; until known, yes.
        self._clips = True
        #: Whether parameters have changed their type or size, so that all rows must be made anew.
        self.outgrown = False

    def settle(self) -> None:
        """Make rows for all parameters of the inventory, after it changed."""
        self._groups.clear()
        self.gradient_slots = [self._row(p, TensorKind.GRADIENT) for p in self._inventory.parameters]
        self.weight_slots = [self._row(p, TensorKind.WEIGHT) for p in self._inventory.parameters]

    def _row(self, parameter: WatchedParameter, kind: TensorKind) -> int | None:
        tensor = local(parameter.tensor)
        slot = slot_of(tensor)
        if slot is None:
            return None
        dtype, shape = str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape)
        info = TensorInfo(
            parameter.name, kind, parameter.point, dtype, shape, whole_shape=whole_shape(parameter.tensor)
        )
        trainable = parameter.tensor.requires_grad
        return self._table.add(
            slot, info.of_parameter(trainable, sparse_by_design=parameter.sparse_by_design)
        )

    def begin(self) -> None:
        """Start an observed step."""
        self._updates = np.full(len(self._table.slots), -np.inf)
        self._preclip_sq, self._applied_sq = {}, []
        self._marks, self._changed = {}, False
        for group in self._groups.values():
            group.taken = False

    def forget(self) -> None:
        """Keep no gradient beyond the step."""
        self._marks = {}

    def updates(self) -> Floats:
        """Update ratios by slot of the table, -inf where none was measured."""
        missing = len(self._table.slots) - len(self._updates)
        return np.append(self._updates, np.full(missing, -np.inf)) if missing else self._updates

    def after_backward(self) -> None:
        """Note what the gradients are before anything clips them."""
        found = [
            (i, gradient)
            for i, (p, slot) in enumerate(zip(self._inventory.parameters, self.gradient_slots, strict=True))
            if slot is not None and (gradient := _gradient(p.tensor)) is not None
        ]
        if self._clips and found:
            squares = self._backend.sum_squares([_readable(gradient) for _, gradient in found])
            self._preclip_sq = dict(zip((i for i, _ in found), squares.tolist(), strict=True))
        self._marks = {i: (gradient, gradient._version) for i, gradient in found}

    def before_step(self, positions: Sequence[int]) -> None:
        """Sample the weights before an optimizer moves them, and see whether its gradients were changed."""
        group = self._group(positions)
        weights = [_readable(p) for p in group.parameters]
        # The model has another type or device since (`.double()`, `.cuda()`): the rows do not fit it.
        if not all(weight.is_cpu for weight in weights):
            self.outgrown = True
            return
        try:
            group.sample.take(weights)
        except ValueError:
            self.outgrown = True
            return
        group.taken = True
        self._compare(group)

    def weights_after_step(self, positions: Sequence[int]) -> None:
        """Read the weights alone, where the gradients are gone by now."""
        if not self.outgrown:
            self._read(self._group(positions), [], [])

    def after_step(self, positions: Sequence[int], compare: bool) -> None:
        """Read the gradients applied and the weights that came of them.

        `compare`: backward ran inside of the step (a closure), so the gradients are compared here.
        """
        if self.outgrown:
            return
        group = self._group(positions)
        if compare:
            self._compare(group)
        self._marks = {}
        self._applied_sq += [self._preclip_sq[i] for i in group.positions if i in self._preclip_sq]
        gradients = [_gradient(p) for p in group.parameters]
        slots = [slot for slot, g in zip(group.gradient_slots, gradients, strict=True) if g is not None]
        self._read(group, slots, [_readable(g) for g in gradients if g is not None])

    def _read(self, group: _Group, slots: list[int], tensors: list[torch.Tensor]) -> None:
        weights = [_readable(p) for p in group.parameters]
        rows = np.concatenate((np.array(slots, dtype=np.int64), group.weight_slots))
        self._table.accumulate(rows, tensors + weights)
        if group.taken:
            self._updates[group.weight_slots] = group.sample.ratios(weights)
            group.taken = False

    def _compare(self, group: _Group) -> None:
        marks = self._marks
        for i, parameter in zip(group.positions, group.parameters, strict=True):
            mark = marks.get(i)
            if mark is not None and (_gradient(parameter) is not mark[0] or mark[0]._version != mark[1]):
                self._changed = True
                return

    def _group(self, positions: Sequence[int]) -> _Group:
        key = tuple(positions)
        group = self._groups.get(key)
        if group is None:
            mine = [i for i in positions if self.weight_slots[i] is not None]
            parameters = [self._inventory.parameters[i].tensor for i in mine]
            gradients = [slot for i in mine if (slot := self.gradient_slots[i]) is not None]
            weights = np.array([self.weight_slots[i] for i in mine], dtype=np.int64)
            sample = self._backend.StridedSample([local(p) for p in parameters], UPDATE_ELEMENTS)
            group = self._groups[key] = _Group(mine, parameters, gradients, weights, sample)
        return group

    def preclip_norm(self, applied: float | None, loss_scale: float | None) -> float | None:
        """The gradient norm before clipping; the one applied when nothing touched the gradients.

        None in the step in which clipping shows for the first time, and when no backward was seen.
        """
        if applied is None and not self._applied_sq:
            return None  # a step left out by a scaler tells nothing of clipping
        measured, was, self._clips = bool(self._applied_sq), self._clips, self._changed
        if not self._changed and (measured or not was):
            return applied
        if not measured:
            return None
        total = sum(self._applied_sq)
        return math.sqrt(total) / (loss_scale or 1.0) if total >= 0 else math.nan


def slot_of(parameter: torch.Tensor) -> Slot | None:
    """The row of a parameter; None where no kernel reads it (device, type, sparse layout)."""
    if not parameter.is_cpu or parameter.layout is not torch.strided:
        return None
    tensor = parameter.detach()
    return slot_for(tensor if dense(tensor) else tensor.contiguous())


def _gradient(parameter: torch.Tensor) -> torch.Tensor | None:
    """A parameter's gradient, if the kernels that fit the parameter fit it too."""
    gradient = parameter.grad
    if gradient is None or gradient.dtype is not parameter.dtype or not gradient.is_cpu:
        return None
    return local(gradient)


def _readable(tensor: torch.Tensor) -> torch.Tensor:
    tensor = local(tensor)
    if tensor.layout is torch.strided:
        if tensor.is_contiguous() or dense(tensor):
            return tensor
    else:
        # The rows of an embedding that the batch named; all others are zero and are not stored.
        tensor = tensor.detach().coalesce().values()
    return tensor.detach().contiguous()
