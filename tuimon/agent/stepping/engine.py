"""The one door through which every backward goes: `Tensor.backward` and `torch.autograd.grad` alike.

Both look `torch.autograd._engine_run_backward` up at each call, also where a script holds `grad` by a name of
its own. What stands there is ours only while somebody listens.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import torch

from tuimon.agent.reading.untraced import passed_over, untraced

if TYPE_CHECKING:
    from tuimon.agent.guard import Guard

#: A private name, there from PyTorch 2.4 to 2.13 at least; without it only `backward` is seen.
ENGINE = "_engine_run_backward"


class Listener(Protocol):
    """Told of each outermost run of the engine, in the thread that asked for it."""

    def run_begins(self, roots: Sequence[Any], inputs: Sequence[Any] | None) -> None:
        """`inputs`: what `torch.autograd.grad` was asked for; None for a backward into `.grad`."""

    def run_ends(self, inputs: Sequence[Any] | None, result: Sequence[Any] | None) -> None:
        """`result`: what `torch.autograd.grad` will return."""

    def run_failed(self) -> None:
        """It raised; the training may go on all the same."""


class EngineTap:
    """Tells listeners of backwards."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._listeners: list[Listener] = []
        self._name = ENGINE if hasattr(torch.autograd, ENGINE) else "backward"
        self._original: Callable[..., Any] | None = None
        self._ours: Callable[..., Any] | None = None
        self._running = False
        self._tell_untraced = untraced(self._tell)

    def add(self, listener: Listener) -> None:
        """Tell this one too, from the run that is about to begin on. Idempotent."""
        if listener not in self._listeners:
            self._listeners.append(listener)
        if self._ours is None:
            self._original = getattr(torch.autograd, self._name)
            self._ours = functools.wraps(self._original)(self._wrapped(self._original))
            setattr(torch.autograd, self._name, self._ours)

    def remove(self, listener: Listener) -> None:
        """Tell this one no more. From any thread; idempotent.

        The original is put back with the last one; where somebody has wrapped ours meanwhile it stays, and
        only passes through.
        """
        if listener in self._listeners:
            self._listeners.remove(listener)
        if not self._listeners and self._ours is not None:
            if getattr(torch.autograd, self._name) is self._ours:
                setattr(torch.autograd, self._name, self._original)
            self._ours = None

    def _wrapped(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def run(roots: Any, *args: Any, **kwargs: Any) -> Any:
            # What runs inside of a backward (checkpointing, hooks) is a part of it.
            if not self._listeners or self._running:
                return original(roots, *args, **kwargs)
            asked = not kwargs.get("accumulate_grad", True) and len(args) > 3
            inputs = args[3] if asked else None
            self._tell_untraced("run_begins", (roots,) if isinstance(roots, torch.Tensor) else roots, inputs)
            self._running = True
            try:
                result = original(roots, *args, **kwargs)
            except BaseException:
                self._tell_untraced("run_failed")
                raise
            finally:
                self._running = False
            self._tell_untraced("run_ends", inputs, result if asked else None)
            return result

        return passed_over(run)

    def _tell(self, what: str, *args: Any) -> None:
        try:
            # Whoever begins to listen because of this run is told of it as well.
            for listener in self._listeners:
                getattr(listener, what)(*args)
        except Exception as error:
            self._guard.take(error)
