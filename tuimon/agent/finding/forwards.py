"""Which modules are called from outside of any other: the roots of the models that run."""

from __future__ import annotations

import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any

import torch

from tuimon.agent.finding.tables import HookTable

if TYPE_CHECKING:
    from collections.abc import Callable

    from tuimon.agent.guard import Guard
    from tuimon.agent.pacing.meter import Meter

_modules = torch.nn.modules.module
#: The tables that `torch.compile` looks into to warn about hooks that are called for every module.
_TABLES = (
    "_global_backward_pre_hooks", "_global_backward_hooks", "_global_forward_pre_hooks",
    "_global_forward_hooks", "_global_forward_hooks_always_called", "_global_forward_hooks_with_kwargs",
)  # fmt: skip


#: Calls of modules after which it stops by itself: a long validation, or a process that trains nothing. At
#: 3 to 4 us each (CPython 3.11, torch 2.13, one EPYC core) that is 0.2 s.
MOST_CALLS = 50_000


class Forwards:
    """Sees each module's forward, in every thread, while it watches; that costs some microseconds each."""

    def __init__(self, guard: Guard, meter: Meter) -> None:
        self._guard, self._meter = guard, meter
        self._depth = threading.local()
        self._roots: dict[int, weakref.ref[torch.nn.Module]] = {}
        self._watching = False
        self._calls = 0
        #: Whether it has stopped by itself, before anybody could tell what trains.
        self.gave_up = False
        self._tables = [
            HookTable(_modules, "_global_forward_pre_hooks", self._begins),
            # Called also after an error in the forward, so that the depth is right after it.
            HookTable(_modules, "_global_forward_hooks_always_called", True),
            HookTable(_modules, "_global_forward_hooks", self._ends),
        ]
        self._warns: Callable[[], bool] | None = None

    def watch(self) -> bool:
        """Begin, from any thread; return whether every forward from now on is seen from its beginning."""
        inside = running()
        self.clear()
        self._calls, self.gave_up = 0, False
        if not self._watching:
            self._watching = True
            # One warning in the training's output about hooks that are ours, and gone in a moment.
            self._warns = getattr(_modules, "_has_any_global_hook", None)
            if self._warns is not None:
                _modules._has_any_global_hook = self._others
            for table in self._tables:
                table.put()
        return not inside and not running()

    def stop(self) -> None:
        """Leave no hook behind. From any thread; idempotent."""
        if self._watching:
            self._watching = False
            for table in reversed(self._tables):
                table.take()
            if self._warns is not None and _modules._has_any_global_hook == self._others:
                _modules._has_any_global_hook = self._warns

    def clear(self) -> None:
        """Forget what was seen. At a step boundary no forward is running."""
        self._depth = threading.local()
        self._roots = {}

    def roots(self) -> list[torch.nn.Module]:
        """The modules that were called from outside of any other, in that order."""
        return [root for known in list(self._roots.values()) if (root := known()) is not None]

    def _begins(self, module: torch.nn.Module, args: Any) -> None:
        if torch.compiler.is_compiling():
            return
        try:
            self._meter.calls += 1
            self._calls += 1
            if self._calls > MOST_CALLS:
                self.gave_up = True
                self.stop()
            depth = getattr(self._depth, "value", 0)
            self._depth.value = depth + 1
            # What is called without gradients (averages, evaluation) may wrap the model that trains.
            if not depth and id(module) not in self._roots and torch.is_grad_enabled():
                self._roots[id(module)] = weakref.ref(module)
        except Exception as error:
            self._guard.take(error)

    def _ends(self, module: torch.nn.Module, args: Any, output: Any) -> None:
        if torch.compiler.is_compiling():
            return
        try:
            self._depth.value = max(getattr(self._depth, "value", 0) - 1, 0)
        except Exception as error:
            self._guard.take(error)

    def _others(self) -> bool:
        """What `_has_any_global_hook` says, without ours."""
        tables = (getattr(_modules, name, {}) for name in _TABLES)
        return any(bool(table.original if isinstance(table, HookTable) else table) for table in tables)


def running() -> bool:
    """Whether some thread is inside of a module's call just now."""
    call = torch.nn.Module._call_impl.__code__
    for frame in sys._current_frames().values():
        # Only which code runs: reading a frame's variables would keep the training's tensors alive.
        while frame is not None:
            if frame.f_code is call:
                return True
            frame = frame.f_back  # type: ignore[assignment]
    return False


def compiled_code() -> bool:
    """Whether `torch.compile` was used in this process: hooks for every module would then cost compiling
    it anew.
    """
    dynamo = sys.modules.get("torch._dynamo.eval_frame")
    backends = getattr(dynamo, "cached_backends", {})
    return any(backend is not None for backend in list(backends.values()))
