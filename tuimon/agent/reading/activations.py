"""Outputs of modules, and the gradients that arrive there, read as they pass.

Small ones wait until there are some; large ones are read at once, while they are in the cache.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from tuimon.agent.hooks import Hook
from tuimon.agent.pacing.meter import Meter
from tuimon.agent.reading.points import Point, limits_of
from tuimon.agent.reading.rows import RowTable
from tuimon.agent.reading.tensor_hooks import GradientHook, attach, quick
from tuimon.agent.reading.transforms import is_batch, transforming
from tuimon.agent.reading.waiting import AT_ONCE_BYTES, MOST_WAITING, WaitingTensors
from tuimon.records.layout import TensorInfo, TensorKind
from tuimon_kernels import Activity, slot_for

if TYPE_CHECKING:
    from torch.utils.hooks import RemovableHandle

    from tuimon.agent.guard import Guard

#: The number of the backward that this thread runs, -1 outside of any. A private name: without it never.
in_backward: Callable[[], int] = getattr(torch._C, "_current_graph_task_id", lambda: -1)


class ActivationProbe:
    """Reads outputs and output gradients of the points while armed."""

    def __init__(self, table: RowTable, meter: Meter, guard: Guard) -> None:
        self._table, self._guard = table, guard
        self._handles: list[RemovableHandle] = []
        self._armed = False
        self._waiting = WaitingTensors(table, meter)
        self._called = 0
        #: Whether a backward runs that trains; set by the agent. Others (a gradient penalty) pass here too.
        self.in_backward = False
        #: Whether a training step is known to run with the roots in eval mode.
        self.eval_is_training = False
        #: Whether the root that ran last began with gradients enabled, set by the agent.
        self.learns = False
        #: The root that is running, set by the agent; its mode tells training from evaluation. Held weakly.
        self.root: Callable[[], torch.nn.Module | None] = lambda: None

    def arm(self, points: list[Point]) -> None:
        """Hook all points. Called at a step boundary."""
        self._armed = True
        if not self._handles:
            seen = [point for point in points if not point.compiled]
            self._handles = [p.module.register_forward_hook(Hook(self._hook(p))) for p in seen]

    def disarm(self) -> None:
        """Take all hooks away; those in graphs still alive do nothing from now on."""
        self._armed = self.in_backward = False
        for handle in self._handles:
            handle.remove()
        self._handles = []
        self._waiting.forget()

    def flush(self) -> None:
        """Read all that waits."""
        self._waiting.flush()

    def restart(self, points: list[Point]) -> None:
        """Drop what was gathered for this step, after an exception in the middle of it."""
        self._waiting.forget()
        for point in points:
            point.calls = point.passed_by = 0
            point.usual = point.order is not None and point.slot >= 0

    def _hook(self, point: Point) -> Callable[[torch.nn.Module, Any, Any], None]:
        """The forward hook of one point.

        It runs for every call, with caches that are cold by then: so all of the usual way stands in this
        closure, in as few operations as can be, and nothing is read in here but by `flush_inside`.
        """
        enabled, compiling, plain = torch.is_grad_enabled, torch.compiler.is_compiling, torch.Tensor
        items, flush, hooks = self._waiting.items, self._waiting.flush_inside, {0: self._gradient_hook(point)}
        append, is_quick = items.append, quick()

        def forward_hook(module: torch.nn.Module, args: Any, output: Any) -> None:
            # Asked first, so that a compiler that traces this hook finds nothing in it to depend on.
            if compiling() or not self._armed or transforming() is not None:
                return
            if not enabled():
                self._pass_by(point)
                return
            try:
                out = output
                if (
                    point.usual
                    and type(out) is plain
                    and out.shape == point.shape
                    and out.dtype is point.dtype
                    and ((root := self.root()) is None or root.training or self.eval_is_training)
                ):
                    point.usual = False  # a second call in this window is not
                    point.calls = 1
                else:
                    out = self._met(point, output)
                    if out is None:
                        return
                if (node := out.grad_fn) is not None:
                    if is_quick and type(out) is plain and out._backward_hooks is None:
                        out._backward_hooks = hooks  # type: ignore[assignment]  # as in `attach`
                        node._register_hook_dict(out)
                        out._backward_hooks = None
                    else:
                        attach(out, hooks)
                append((point.slot, out, out._version, point))
                if point.at_once or len(items) >= MOST_WAITING:
                    flush()
            except Exception as error:
                self._guard.take(error)

        return forward_hook

    def _met(self, point: Point, output: Any) -> torch.Tensor | None:
        """What is to be read of an output, if anything, where it is not known beforehand."""
        point.usual = False
        out = output if type(output) is torch.Tensor else first_tensor(output)
        if out is None or not self._wanted(point):
            return None
        point.calls += 1
        if out.dtype is not point.dtype or out.shape != point.shape:
            self._meet(point, out)
        return out if point.slot >= 0 else None

    def _wanted(self, point: Point) -> bool:
        root = self.root()
        if root is not None and not root.training and not self.eval_is_training:
            return False
        if (point.calls or point.passed_by) and in_backward() != -1:
            # Checkpointing runs a forward a second time, inside of backward: not a second output, unless
            # the first one was passed by.
            if not point.passed_by:
                return False
            point.passed_by -= 1
        if point.order is None:
            point.order = self._next_order() if point.expected_order is None else point.expected_order
        return True

    def _pass_by(self, point: Point) -> None:
        """A forward without gradients in a root's forward with them: of reentrant checkpointing, maybe.

        If so, backward runs it again, with gradients: that one is read, but the order is this one's.
        """
        if self.learns:
            point.passed_by += 1
            point.usual = False
            if point.order is None and point.expected_order is None:
                point.expected_order = self._next_order()

    def _next_order(self) -> int:
        self._called += 1
        return self._called - 1

    def _meet(self, point: Point, out: torch.Tensor) -> None:
        """Take note of an output of a shape or type not seen before, and make rows that fit it."""
        like = point.dtype is out.dtype and point.shape is not None and out.shape[1:] == point.shape[1:]
        point.shape, point.dtype = out.shape, out.dtype
        point.at_once = point.overwritten or out.nbytes >= AT_ONCE_BYTES
        if like and point.slot >= 0:
            return
        axis = point.channel_axis(out.dim())
        example = out if out.is_contiguous() else out.detach().contiguous()
        slot = slot_for(example, channel_axis=axis, limits=limits_of(point.module)) if out.is_cpu else None
        if slot is None:
            point.slot = point.gradient_slot = -1
            return
        gradient = slot_for(example, channel_axis=axis, active=Activity.NONZERO)
        assert gradient is not None
        if isinstance(point.module, torch.nn.Softmax):
            # Of a row of classes only one can be at its limit, so rows are counted, not elements.
            slot = replace(slot, limit_weight=float(out.shape[-1]) if out.dim() else 1.0)
        point.channels = slot.channels or None
        point.slot = self._table.add(slot, _info(point, TensorKind.ACTIVATION))
        point.gradient_slot = self._table.add(gradient, _info(point, TensorKind.OUTPUT_GRADIENT))
        if slot.channels and not point.rectifier:
            self._table.pair(point.slot, point.gradient_slot)

    def _gradient_hook(self, point: Point) -> GradientHook:
        items, flush = self._waiting.items, self._waiting.flush_inside
        append = items.append

        def gradient_hook(gradient: torch.Tensor | None) -> None:
            # Not when disarmed either.
            if not self.in_backward or transforming() is not None:
                return
            try:
                if gradient is not None and gradient.dtype is point.dtype and not is_batch(gradient):
                    append((point.gradient_slot, gradient, gradient._version, None))
                    if point.at_once or len(items) >= MOST_WAITING:
                        flush()
            except Exception as error:
                self._guard.take(error)

        return gradient_hook


def _info(point: Point, kind: TensorKind) -> TensorInfo:
    dtype = str(point.dtype).removeprefix("torch.")
    return TensorInfo(point.name, kind, point.index, dtype, tuple(point.shape or ()))


def first_tensor(output: Any) -> torch.Tensor | None:
    """The first floating tensor of a module's output: itself, or found in tuples, dicts and dataclasses."""
    if isinstance(output, torch.Tensor):
        return output if output.is_floating_point() and output.layout is torch.strided else None
    if isinstance(output, dict):
        output = tuple(output.values())
    elif dataclasses.is_dataclass(output):
        output = tuple(getattr(output, field.name, None) for field in dataclasses.fields(output))
    if isinstance(output, (tuple, list)):
        for item in output:
            found = first_tensor(item)
            if found is not None:
                return found
    return None
