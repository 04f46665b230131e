"""The loss, seen without help: the scalar that backward starts from, while a step is observed."""

from __future__ import annotations

import functools
import math
import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch

from tuimon.agent.stepping.scaler import scaler_types
from tuimon_kernels.undisturbed import undisturbed

if TYPE_CHECKING:
    from tuimon.agent.guard import Guard
    from tuimon.agent.stepping.engine import EngineTap


class LossProbe:
    """Gathers the losses of one step's backward calls.

    What `torch.autograd.grad` starts from counts where it is asked for gradients of something that `trains`.
    """

    def __init__(self, guard: Guard, tap: EngineTap, before: Callable[[], None], after: Callable[[], None],
                 failed: Callable[[], None], skipped: Callable[[], None],
                 trains: Callable[[Sequence[Any]], bool],
                 summed: Callable[[int], int | None]) -> None:  # fmt: skip
        self._guard, self._tap, self._before, self._after = guard, tap, before, after
        self._failed, self._skipped, self._trains, self._summed = failed, skipped, trains, summed
        self._armed = False
        self._patches: list[tuple[Any, str, Any, Any]] = []
        self._scaler: weakref.ref[Any] | None = None
        #: Roots of this step's backward calls, unscaled, and the divisors that they show.
        self._roots: list[float | None] = []
        self._divisors: list[float | None] = []
        #: The scale that this step's gradients carry; None without a scaler (or on a device).
        self.step_scale: float | None = None
        #: Which of them are of `torch.autograd.grad`.
        self._asked: list[bool] = []
        #: Whether the run of the engine that is on is one of those.
        self._counted = False
        #: Whether one that counts is running.
        self.in_backward = False
        #: Whether the beginning of this step was not seen, and whether it had several scalers.
        self._late = self._unscalable = False

    def arm(self) -> None:
        """Watch backward, and a gradient scaler if there is one."""
        self._armed = True
        if self._patches:
            return
        self._tap.add(self)
        for scaler in scaler_types():
            self._patch(scaler, "scale", self._wrap_scale)
            self._patch(scaler, "update", self._wrap_update)

    def _patch(self, owner: Any, name: str, wrap: Callable[[Any], Any]) -> None:
        original = getattr(owner, name)
        ours = functools.wraps(original)(wrap(original))
        setattr(owner, name, ours)
        self._patches.append((owner, name, original, ours))

    def disarm(self) -> None:
        """Restore what was there; where somebody wrapped ours meanwhile, it stays and only passes through."""
        self._armed = self.in_backward = False
        self._tap.remove(self)
        for owner, name, original, ours in self._patches:
            if getattr(owner, name) is ours:
                setattr(owner, name, original)
        self._patches = []

    def begin(self) -> None:
        """Start an observed step."""
        self._roots, self._divisors, self._asked = [], [], []
        self.step_scale = None
        self._late = self._unscalable = False

    def begin_late(self, scalers: Sequence[Any]) -> None:
        """In a step that is observed from its backward on: neither its forward nor its scaler was seen.

        `scalers`: those in use.
        """
        self._late, self._unscalable = True, len(scalers) > 1
        if len(scalers) == 1:
            self._scaler = weakref.ref(scalers[0])

    def run_begins(self, roots: Sequence[Any], inputs: Sequence[Any] | None) -> None:
        """See `Listener.run_begins`."""
        self._counted = self.in_backward = self._armed and (inputs is None or self._trains(inputs))
        if self._counted:
            self._see(roots, inputs is not None)

    def run_ends(self, inputs: Sequence[Any] | None, result: Sequence[Any] | None) -> None:
        """See `Listener.run_ends`."""
        self.in_backward = False
        if self._counted and self._armed:
            self._after()

    def run_failed(self) -> None:
        """See `Listener.run_failed`."""
        self.in_backward = False
        if self._counted:
            self._failed()

    def _wrap_scale(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def scale(scaler: Any, outputs: Any) -> Any:
            if self._armed:
                self._scaler = weakref.ref(scaler)
            return original(scaler, outputs)

        return scale

    def _wrap_update(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def update(scaler: Any, *args: Any, **kwargs: Any) -> Any:
            result = original(scaler, *args, **kwargs)
            if self._armed:
                self._guarded(self._skipped)
            return result

        return update

    def _guarded(self, act: Callable[..., None], *args: Any) -> None:
        try:
            act(*args)
        except Exception as error:
            self._guard.take(error)

    @undisturbed
    def _see(self, roots: Sequence[Any], asked: bool) -> None:
        # Not a tensor: an edge of the graph, which has no value.
        scalars = [t for t in roots if isinstance(t, torch.Tensor) and t.numel() == 1 and t.is_cpu]
        # A device's scalar is not read: that would wait for the device.
        total = sum(float(t.detach()) for t in scalars) if len(scalars) == len(roots) else None
        # Unscaled here: the scale may change before the step is over.
        self.step_scale = self.loss_scale
        self._roots.append(None if total is None else total / (self.step_scale or 1.0))
        self._divisors.append(divisor(scalars[0]) if len(roots) == len(scalars) == 1 else None)
        self._asked.append(asked)
        self._before()

    @property
    def microbatches(self) -> int:
        """Backward calls in this step so far."""
        return len(self._roots)

    @property
    def loss_scale(self) -> float | None:
        """The current scale of the gradient scaler that was seen; None without one (or on a device)."""
        scaler = self._scaler() if self._scaler is not None else None
        scale = getattr(scaler, "_scale", None)
        if not isinstance(scale, torch.Tensor) or not scale.is_cpu:
            return None
        return float(scale)

    def loss(self, first: int = 0, end: int | None = None) -> float | None:
        """Mean loss of the backward calls `first` to `end`; None when one was not readable.

        Losses divided by the number of microbatches before backward (gradient accumulation) are added up
        instead, which gives the same mean. Beside a backward, a loss that was only asked for gradients is
        none of its own (the inner loop of meta-learning).
        """
        mine = self._mine(first, end)
        roots = [self._roots[i] for i in mine]
        if not roots or any(root is None for root in roots) or self._is_unclear(mine):
            return None
        total = math.fsum(r for r in roots if r is not None) if _finite(roots) else sum(roots)  # type: ignore[arg-type]
        divided = self.divisor(first, end) is not None
        return float(total if divided else total / len(roots))

    def divisor(self, first: int = 0, end: int | None = None) -> int | None:
        """The number of the backward calls `first` to `end`, if each loss was divided by it; else None.

        A sum over tokens counts as divided by it if it was divided by all the tokens of these calls, not by
        those of its own.
        """
        divisors = [self._divisors[i] for i in self._mine(first, end)]
        count, one = len(divisors), divisors[0] if divisors else None
        if count < 2 or one is None or any(d is None or not math.isclose(d, one) for d in divisors):
            return None
        if math.isclose(one, count):
            return count
        summed = self._summed(count)
        # Whoever counted the tokens may have counted some that the loss ignores.
        return count if summed and one >= summed * (1 - 1e-6) else None

    def _is_unclear(self, mine: list[int]) -> bool:
        """Whether what these losses were multiplied or divided with stood in a forward that was not seen."""
        divisors = [self._divisors[i] for i in mine]
        n, one = len(divisors), divisors[0] if divisors else None
        return self._late and (
            self._unscalable or (n > 1 and one is not None and not math.isclose(one, n))
        )

    def _mine(self, first: int, end: int | None) -> list[int]:
        """Which of these calls had losses of their own."""
        asked = self._asked[first:end]
        return [i for i, other in enumerate(asked, first) if not other or all(asked)]


def _finite(values: list[float | None]) -> bool:
    return all(value is not None and math.isfinite(value) for value in values)


def divisor(root: torch.Tensor) -> float | None:
    """What a loss was divided by (or multiplied with the inverse of) last; None if by nothing.

    The scale of a gradient scaler, and divisions by 1, as frameworks make them, may stand behind it.
    """
    node, product = root.grad_fn, None
    for _ in range(4):
        if node is None:
            break
        name, other = node.name(), getattr(node, "_saved_other", None)
        value = float(other) if other is not None and _scalar(other) else None
        if name not in ("DivBackward0", "MulBackward0") or value is None:
            break
        if name == "DivBackward0" or 0.0 < value < 1.0:
            product = (product or 1.0) * (value if name == "DivBackward0" else 1.0 / value)
        node = node.next_functions[0][0] if node.next_functions else None
    return product


def _scalar(value: object) -> bool:
    if isinstance(value, torch.Tensor):
        return value.numel() == 1 and value.is_cpu
    return isinstance(value, (int, float))
