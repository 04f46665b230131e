"""Loss functions, seen without help: the terms of a training step, and passes of validation.

The functions of C that `torch.nn.functional` calls are wrapped for as long as the agent is there: validation
happens between training steps, where there are no windows. Calls pass straight through. On one EPYC core
(torch 2.13) a training's call outside of windows takes 0.4 us longer, a call of validation 9 us, and where
its labels are read 40 us and more (64 samples of 10 classes; see `labels` for the bounds).
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch

from tuimon.agent.loss import scripting
from tuimon.agent.loss.evaluation import Passes
from tuimon.agent.loss.loss_functions import LOSS_FUNCTIONS, Call, LossFunction
from tuimon.agent.loss.readings import plain, read, readable
from tuimon.agent.loss.terms import Terms
from tuimon.agent.pacing.meter import clock

if TYPE_CHECKING:
    from tuimon.agent.finding.inventory import Inventory
    from tuimon.agent.pacing.meter import Meter
    from tuimon.records.criterion import Criterion


class CriterionProbe:
    """Observes calls of loss functions.

    Args:
        meter: takes what observing costs.
        inventory: the models, whose mode tells training from validation.
        passes: takes what is called between training steps.
        evaluated: told of each such call.
    """

    def __init__(
        self, meter: Meter, inventory: Inventory, passes: Passes, evaluated: Callable[[], None]
    ) -> None:
        self._meter, self._inventory, self._passes, self._evaluated = meter, inventory, passes, evaluated
        self._terms = Terms()
        self._patches: list[tuple[Any, str, Any, Any]] = []
        self._installed = self._armed = False
        #: The thread that trains; calls in others (a prefetcher's, a server's) are not its losses.
        self._thread: int | None = None
        #: Whether an optimizer stepped while all models were in eval mode: a frozen BatchNorm, for example.
        self._trains_in_eval = False
        self._steps = 0
        #: Whether any call was ever seen.
        self._called = False
        #: Why the probe gave up; None while it has not. And whether a sample has said so.
        self.trouble: str | None = None
        self._told = False
        #: Called before a call is taken into account: the step that it seems to belong to may be over.
        self.before_call: Callable[[], None] = lambda: None

    # -- in and out -----------------------------------------------------------------------------------

    def install(self) -> None:
        """Wrap the functions. Idempotent."""
        if self._installed:
            return
        self._installed = True
        for function in LOSS_FUNCTIONS:
            original = getattr(function.module, function.attribute, None)
            if original is not None:
                ours = functools.wraps(original)(self._wrap(function, original))
                scripting.introduce(original, ours)
                setattr(function.module, function.attribute, ours)
                self._patches.append((function.module, function.attribute, original, ours))

    def remove(self) -> None:
        """Restore what was there, and close an open pass; what somebody wrapped meanwhile passes through."""
        if self._installed and self.trouble is None:
            self._passes.close()
        self._installed = False
        self.disarm()
        for owner, name, original, ours in self._patches:
            if getattr(owner, name) is ours:
                setattr(owner, name, original)
                scripting.forget(ours)
        self._patches = []

    def status(self, late_steps: int = 0) -> str:
        """For `Hello.probes`; `late_steps`: how many had called theirs before they were observed."""
        if self.trouble is not None:
            return f"gave up: {self.trouble}"
        if self._steps > late_steps and not self._called:
            return "no loss function of torch is called (outside of compiled code)"
        return "on"

    # -- the steps' borders ---------------------------------------------------------------------------

    def begin(self) -> None:
        """Start an observed step."""
        self._armed = self._installed
        self._terms = Terms()

    def disarm(self) -> None:
        """Observe passes of validation only."""
        self._armed = False
        self._terms = Terms()

    def close_pass(self) -> None:
        """Training goes on: what was evaluated before is complete."""
        self._guarded(self._passes.close)

    def before_backward(self) -> None:
        """The losses so far are those of one microbatch."""
        self._guarded(self._passes.begin_backward)
        self._terms.begin_backward()

    def before_step(self) -> None:
        """An optimizer begins to step, perhaps with a closure that calls the losses."""
        self._terms.begin_step()

    def after_step(self) -> None:
        """It has stepped."""
        self._terms.end_step()

    def stepped(self) -> None:
        """A step of training is complete, observed or not."""
        self._thread = threading.get_ident()
        self._steps += 1
        self._trains_in_eval = self._trains_in_eval or self._inventory.evaluates
        self._guarded(self._passes.end_step)

    def criteria(self) -> tuple[Criterion, ...]:
        """The terms of the observed step."""
        return self._terms.criteria() if self.trouble is None else ()

    def summed(self, calls: int) -> int | None:
        """Elements that the one loss of the step was taken over in so many calls; None if not as a sum."""
        return self._terms.summed(calls) if self.trouble is None else None

    def news(self) -> dict[str, str]:
        """For `Sample.trouble`: that the probe gave up, once."""
        if self.trouble is None or self._told:
            return {}
        self._told = True
        return {"criteria": self.trouble}

    # -- calls ----------------------------------------------------------------------------------------

    def _wrap(self, function: LossFunction, original: Callable[..., Any]) -> Callable[..., Any]:
        compiling, gradients = torch.compiler.is_compiling, torch.is_grad_enabled

        def observed(*args: Any, **kwargs: Any) -> Any:
            # Asked first, so that a compiler that traces this finds nothing in it to depend on.
            if compiling():
                return original(*args, **kwargs)
            result = original(*args, **kwargs)
            if self._installed and (self._armed or self._passes.open or not gradients() or self._in_eval()):
                self._guarded(self._see, Call(function, args, kwargs, result))
            return result

        return observed

    def _in_eval(self) -> bool:
        """Whether a loss with gradients is one of validation all the same: who forgets `no_grad`."""
        return self._steps > 0 and not self._trains_in_eval and self._inventory.evaluates

    def _guarded(self, act: Callable[..., None], *args: Any) -> None:
        """A tensor of a kind not met before ends this probe, and only this one."""
        if self.trouble is not None:
            return
        start_s = clock()
        try:
            act(*args)
        except Exception as error:
            self.trouble = f"{type(error).__name__}: {error}".splitlines()[0]
            self.remove()
        finally:
            self._meter.own_s += clock() - start_s

    def _see(self, call: Call) -> None:
        if self._thread not in (None, threading.get_ident()) or not readable(call):
            return
        self._called = True
        self._meter.calls += 1
        self.before_call()
        with _undisturbed(call):
            if not call.result.requires_grad or self._in_eval():
                self._passes.take(call, not self._trains_in_eval and self._inventory.evaluates)
                self._evaluated()
                return
            self._passes.close()
            if self._armed:
                self._terms.add(call.function.name, read(call, self._terms.wants_labels, self._steps))


_modes: Callable[[], int] = getattr(torch._C, "_len_torch_function_stack", lambda: 1)


@contextlib.contextmanager
def _all_off() -> Iterator[None]:
    # Modes and classes that look at functions (a default device, a logger) do not see ours. What is made in
    # inference mode could not be added to outside of it.
    with torch._C.DisableTorchFunction(), torch.inference_mode(False), torch.no_grad():
        yield


def _undisturbed(call: Call) -> contextlib.AbstractContextManager[None]:
    """Where computing has no effect on what is recorded, and none is had on it. Mostly that is so already:
    of a graph nothing is seen behind `detach`, which is the first thing done to all that is read.
    """
    if torch.is_inference_mode_enabled() or _modes() or not plain(call):
        return _all_off()
    return _NOTHING


_NOTHING = contextlib.nullcontext()
