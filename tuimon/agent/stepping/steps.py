"""Who tells that the training has taken a step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from torch.optim import optimizer as torch_optimizer

from tuimon.agent.finding.tables import HookTable
from tuimon.agent.reading.untraced import seal, untraced

#: Called with who steps, and with arguments that do not matter here.
StepHook = Callable[[Any, Any, Any], None]


class StepSource(Protocol):
    """One kind of step that the agent learns of.

    It calls the agent's `before_step` (between `arm` and `disarm` only) and `after_step` on the thread that
    trains, with the one that steps: a `torch.optim.Optimizer`, or something like it that has `param_groups`
    and `state` and can be held weakly.
    """

    def start(self) -> None:
        """Report steps from now on. From any thread."""

    def arm(self) -> None:
        """Report also what is about to step. At a step boundary."""

    def disarm(self) -> None:
        """Report only what has stepped. From any thread."""

    def stop(self) -> None:
        """Leave nothing behind. From any thread; idempotent."""


class OptimizerSteps:
    """Steps of each `torch.optim.Optimizer` in the process, also of those made before."""

    def __init__(self, before: StepHook, after: StepHook) -> None:
        self._before = HookTable(torch_optimizer, "_global_optimizer_pre_hooks", untraced(before))
        self._after = HookTable(torch_optimizer, "_global_optimizer_post_hooks", untraced(after))

    def start(self) -> None:
        """See `StepSource.start`."""
        seal()
        self._after.put()

    def arm(self) -> None:
        """See `StepSource.arm`."""
        seal()
        self._before.put()

    def disarm(self) -> None:
        """See `StepSource.disarm`."""
        self._before.take()

    def stop(self) -> None:
        """See `StepSource.stop`."""
        self._before.take()
        self._after.take()
