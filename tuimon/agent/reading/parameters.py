"""Gradients that the optimizers applied, weights after the step, and how far they moved.

Gradients are read behind the optimizer's step: unscaled, averaged over ranks, after clipping, and right
with closures too. What they were before clipping is read at the end of backward, but only when something
was seen to write to them between there and the step.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter, is_
from typing import TYPE_CHECKING

import torch

from tuimon.agent.reading.rows import RowTable
from tuimon.agent.reading.shards import local, whole_shape
from tuimon.records.layout import TensorInfo, TensorKind
from tuimon_kernels import Backend, Slot, dense, slot_for
from tuimon_kernels.undisturbed import undisturbed

if TYPE_CHECKING:
    from torch import nn

    from tuimon.agent.finding.inventory import Inventory, WatchedParameter
    from tuimon_kernels.backend import StridedSample

# Asked of all tensors in C loops (`map`): 40 ns each instead of 100 and more.
_grad: Callable[[torch.Tensor], torch.Tensor | None] = attrgetter("grad")
_version: Callable[[torch.Tensor], int] = attrgetter("_version")
_tensor: Callable[[WatchedParameter], torch.Tensor] = attrgetter("tensor")
#: The type of gradients without anything special about them; None has another one, as have subclasses.
_TENSORS = {torch.Tensor}
_PLAIN = (torch.nn.Parameter, torch.Tensor)

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
    weight_slots: array[int]
    sample: StridedSample
    #: Rows of all gradients, then of all weights.
    slots: array[int]
    #: Whether the weights lie in memory as a kernel reads it; else each is copied first.
    dense: bool
    #: Whether these are all parameters of the inventory, in its order.
    whole: bool
    #: Whether the weights were sampled before the step that is running.
    taken: bool = False

    def weights(self) -> Sequence[torch.Tensor]:
        """The weights as a kernel reads them."""
        return self.parameters if self.dense else [readable(p) for p in self.parameters]


class ParameterProbe:
    """Reads what the optimizers did in an observed step."""

    def __init__(self, inventory: Inventory, table: RowTable, backend: Backend) -> None:
        self._inventory, self._table, self._backend = inventory, table, backend
        #: Rows of each parameter's gradient and weight; None for what no kernel reads.
        self.gradient_slots: list[int | None] = []
        self.weight_slots: list[int | None] = []
        self._groups: dict[tuple[int, ...], _Group] = {}
        #: Whether a kernel reads every parameter.
        self._reads_all = False
        #: At the end of backward: sums of squares by position; by position the gradients (None where none was
        #: or none can be read) and how often they were written to. Empty where there is nothing to compare.
        self._preclip_sq: dict[int, float] = {}
        self._marks: list[torch.Tensor | None] = []
        self._versions: list[int] = []
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
        self._reads_all = None not in self.gradient_slots

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
        self._preclip_sq, self._applied_sq = {}, []
        self._changed = False
        self.forget()
        for group in self._groups.values():
            group.taken = False

    def forget(self) -> None:
        """Keep no gradient beyond the step."""
        self._marks, self._versions = [], []

    def after_backward(self) -> None:
        """Note what the gradients are before anything clips them."""
        gradients = list(map(_grad, map(_tensor, self._inventory.parameters)))
        if self._reads_all and set(map(type, gradients)) == _TENSORS:
            self._marks, self._versions = gradients, list(map(_version, gradients))  # type: ignore[arg-type]
        else:
            watched = zip(self._inventory.parameters, self.gradient_slots, strict=True)
            self._marks = [None if slot is None else _gradient(p.tensor) for p, slot in watched]
            self._versions = [0 if gradient is None else gradient._version for gradient in self._marks]
        if self._clips:
            found = [(i, gradient) for i, gradient in enumerate(self._marks) if gradient is not None]
            squares = self._backend.sum_squares([readable(gradient) for _, gradient in found])
            self._preclip_sq = dict(zip((i for i, _ in found), squares, strict=True))

    def before_step(self, positions: Sequence[int]) -> None:
        """Sample the weights before an optimizer moves them, and see whether its gradients were changed."""
        group = self._group(positions)
        try:
            group.sample.take(group.weights())
        except ValueError:
            # The model has another type or device since (`.double()`, `.cuda()`): the rows do not fit it.
            self.outgrown = True
            return
        group.taken = True
        self._compare(group)

    def weights_after_step(self, positions: Sequence[int]) -> None:
        """Read the weights alone, where the gradients are gone by now."""
        if self.outgrown:
            return
        group = self._group(positions)
        try:
            self._read(group, group.weight_slots, [], group.weights())
        except ValueError:  # of another type since backward
            self.outgrown = True

    def after_step(self, positions: Sequence[int], compare: bool) -> None:
        """Read the gradients applied and the weights that came of them.

        `compare`: backward ran inside of the step (a closure), so the gradients are compared here.
        """
        if self.outgrown:
            return
        group = self._group(positions)
        if compare:
            self._compare(group)
        if self._preclip_sq:
            self._applied_sq += [self._preclip_sq[i] for i in group.positions if i in self._preclip_sq]
        gradients = list(map(_grad, group.parameters))
        weights = group.weights()
        if set(map(type, gradients)) == _TENSORS:
            self.forget()
            try:
                self._read(group, group.slots, gradients, weights)  # type: ignore[arg-type]
                return
            except ValueError:  # sparse, strided or of another type
                pass
        freed = self._release(group)
        found = [freed[k] if p.grad is None else _gradient(p) for k, p in enumerate(group.parameters)]
        slots = [slot for slot, g in zip(group.gradient_slots, found, strict=True) if g is not None]
        left = [readable(g) for g in found if g is not None]
        self._read(group, [*slots, *group.weight_slots], left, weights)

    def _release(self, group: _Group) -> list[torch.Tensor | None]:
        """What backward left of those gradients that the step itself let go of; kept no longer.

        Others that step the same way are still to come, so theirs stay.
        """
        if not self._marks:
            return [None] * len(group.positions)
        freed = [
            self._marks[i] if p.grad is None else None
            for i, p in zip(group.positions, group.parameters, strict=True)
        ]
        if any(gradient is not None for gradient in freed):
            for i in group.positions:
                self._marks[i] = None
        else:
            self.forget()
        return freed

    def _read(
        self,
        group: _Group,
        slots: Sequence[int],
        gradients: list[torch.Tensor],
        weights: Sequence[torch.Tensor],
    ) -> None:
        self._table.accumulate(slots, [*gradients, *weights])
        if group.taken:
            self._table.note_moved(group.weight_slots, group.sample.ratios(weights))
            group.taken = False

    def _compare(self, group: _Group) -> None:
        """See whether something wrote to the gradients since backward, or put others in their place."""
        marks, versions = self._marks, self._versions
        if not marks:
            return
        if group.whole:
            now = list(map(_grad, group.parameters))
            if all(map(is_, now, marks)) and set(map(type, now)) == _TENSORS:
                self._changed = self._changed or list(map(_version, now)) != versions  # type: ignore[arg-type]
                return
        for i, parameter in zip(group.positions, group.parameters, strict=True):
            mark = marks[i]
            if mark is not None and (_gradient(parameter) is not mark or mark._version != versions[i]):
                self._changed = True
                return

    def _group(self, positions: Sequence[int]) -> _Group:
        key = tuple(positions)
        group = self._groups.get(key)
        if group is None:
            mine = [i for i in positions if self.weight_slots[i] is not None]
            parameters = [self._inventory.parameters[i].tensor for i in mine]
            gradients = [slot for i in mine if (slot := self.gradient_slots[i]) is not None]
            weights = array("q", [slot for i in mine if (slot := self.weight_slots[i]) is not None])
            group = self._groups[key] = _Group(
                mine,
                parameters,
                gradients,
                weights,
                self._backend.StridedSample([readable(p) for p in parameters], UPDATE_ELEMENTS),
                array("q", gradients) + weights,
                dense=all(type(p) in _PLAIN and dense(p) for p in parameters),
                whole=mine == list(range(len(self._inventory.parameters))),
            )
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


def readable(tensor: torch.Tensor) -> torch.Tensor:
    """The same elements as dense memory: of a sharded tensor those here, of a sparse one those stored."""
    tensor = local(tensor)
    strided = tensor.layout is torch.strided
    return tensor if strided and (tensor.is_contiguous() or dense(tensor)) else _copied(tensor)


@undisturbed
def _copied(tensor: torch.Tensor) -> torch.Tensor:
    if tensor.layout is not torch.strided:
        # The rows of an embedding that the batch named; all others are zero and are not stored.
        tensor = tensor.detach().coalesce().values()
    return tensor.detach().contiguous()
