"""Steps of a training that uses no `torch.optim`: something moved the parameters that backward reached.

Nothing announces such a step, and what it did is over when that shows: at the next backward, or at the next
forward of a model that is watched. So gradients are taken when backward ends (`backward_gradients`). Between
observed steps one wrapped function runs per backward, which compares the versions of a few parameters.

It gives way for good to the first `torch.optim.Optimizer` that steps, so that it costs other trainings a look
at their first backward passes only.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch

from tuimon.agent.hooks import Hook
from tuimon.agent.pacing.meter import clock
from tuimon.agent.reading.transforms import is_batch, transforming
from tuimon.agent.stepping.handwritten_optimizer import HandwrittenOptimizer
from tuimon.agent.stepping.marks import Mark, leaves, spread

if TYPE_CHECKING:
    from types import FrameType

    from torch.utils.hooks import RemovableHandle

    from tuimon.agent.agent import Agent

#: Parameters that are looked at between observed steps: they move together.
WITNESSES = 4
#: Parameters of which numbers are compared where versions tell nothing (`p.data -= ...`): 13 us each.
COMPARED = 3
#: Backward passes after which a training in which nothing moved is looked at no more.
PATIENCE = 1024
#: Steps that an observed one is put off at most, so that its forward is seen.
LONGEST_WAIT = 2
#: The first of them in which the graph is walked to see which parameters it reaches.
WALKS = 4


class HandwrittenSteps:
    """See the head of this file. A `StepSource` and a `Listener`."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        #: None while there is none: still looking, or (`given_way`) never again.
        self.optimizer: HandwrittenOptimizer | None = None
        self.given_way = False
        self._armed = False
        self._marks: list[Mark] = []
        #: Whether versions tell nothing, and whether it is inside of backward that parameters are moved.
        self._by_values = self._inside = False
        self._runs = 0
        self._entries: list[RemovableHandle] = []
        #: Whether a step shows just before a backward, behind its forward; how often windows waited for that.
        self._late, self._waits = False, 0

    # -- as a source of steps -------------------------------------------------------------------------

    def start(self) -> None:
        """See `StepSource.start`."""
        if self._agent.optimizers.known:
            self.given_way = True
        if not self.given_way:
            self._agent.window.tap.add(self)

    def arm(self) -> None:
        """See `StepSource.arm`."""
        self._armed = True
        self._mark()

    def disarm(self) -> None:
        """See `StepSource.disarm`."""
        self._armed = False
        self._leave_entries()
        if self.optimizer is not None:
            self.optimizer.gradients = []
        self._mark()

    def stop(self) -> None:
        """See `StepSource.stop`."""
        self.given_way = True
        self._agent.window.tap.remove(self)
        self._leave_entries()
        self._marks, self.optimizer = [], None

    @property
    def unseen_end(self) -> bool:
        """Whether steps end somewhere between a backward and the next forward, unseen."""
        return self.optimizer is not None and not self._inside

    def may_begin(self) -> bool:
        """Whether a window can begin now: behind a forward it would lack that, so it waits for the next one.

        Not for ever: of compiled code, and of tensors without modules, no forward is seen.
        """
        if not self._late or self._waits >= LONGEST_WAIT or not self._agent.window.entries():
            return True
        self._waits += 1
        return False

    def give_way_to(self, optimizer: Any) -> None:
        """Someone steps: if it is a real optimizer, then that is what trains here."""
        if not self.given_way and optimizer is not self.optimizer:
            self.stop()

    # -- as a listener --------------------------------------------------------------------------------

    def run_begins(self, roots: Sequence[Any], inputs: Sequence[Any] | None) -> None:
        """See `Listener.run_begins`."""
        start_s, own_s = clock(), self._agent.meter.own_s
        if transforming() is None and not self.given_way:
            self._leave_entries()
            self._late = True
            self._look()
            self._late = False
            if self.optimizer is None:
                self._reach(roots, inputs)
            elif self._armed and self._inside:
                self._agent.before_step(self.optimizer, None, None)
        self._count(start_s, own_s)

    def run_ends(self, inputs: Sequence[Any] | None, result: Sequence[Any] | None) -> None:
        """See `Listener.run_ends`."""
        start_s, own_s = clock(), self._agent.meter.own_s
        if transforming() is None and not self.given_way:
            self._ran(inputs, result)
        self._count(start_s, own_s)

    def _ran(self, inputs: Sequence[Any] | None, result: Sequence[Any] | None) -> None:
        optimizer = self.optimizer
        if optimizer is None:
            self._runs += 1
            if any(mark.written() for mark in self._marks):
                self._inside = True
                self._look()
            elif self._armed:
                self._expect_entry()
        elif self._inside:
            self._look()
        elif self._armed:
            optimizer.returned = inputs is not None
            optimizer.gradients = list(self._gradients(inputs, result))
            self._agent.before_step(optimizer, None, None)
            optimizer.gradients = []
            self._expect_entry()
        elif self._agent.observes_next:
            self._expect_entry()

    def glance(self) -> None:
        """A loss function is called: where no module is, that is the first that shows of a new step."""
        if self.optimizer is not None and self._armed and transforming() is None:
            self._late = True
            self._look()
            self._late = False

    def run_failed(self) -> None:
        """See `Listener.run_failed`."""

    def _count(self, start_s: float, own_s: float) -> None:
        # What the agent did meanwhile it has counted itself.
        self._agent.meter.own_s = own_s + clock() - start_s
        self._agent.meter.calls += 1

    def _gradients(
        self, inputs: Sequence[Any] | None, result: Sequence[Any] | None
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        if inputs is None or result is None:
            for tensor in self._trained():
                if tensor.grad is not None and tensor.grad.dtype is tensor.dtype:
                    yield tensor, tensor.grad
            return
        mine = {id(tensor) for tensor in self._trained()}
        for tensor, gradient in zip(inputs, result, strict=True):
            if id(tensor) in mine and isinstance(gradient, torch.Tensor) and not is_batch(gradient):
                yield tensor, gradient.detach()

    # -- where a step shows ---------------------------------------------------------------------------

    def _look(self) -> bool:
        """Report a step if one was taken since the last look; return whether."""
        marks = self._marks
        if self.optimizer is None:
            if self._runs:
                self._look_for_the_first(marks)
            return False
        if not self._has_moved(marks):
            if marks and all(mark.tensor is None for mark in marks):
                # The model is gone: whatever trains now is found anew.
                self.optimizer, self._marks, self._runs = None, [], 0
                self._by_values = self._inside = False
            return False
        if self._armed:
            moved = [t for mark in marks if (t := mark.tensor) is not None and mark.written()]
            self.optimizer.add(moved)
            self.optimizer.moved = None if self._by_values else frozenset(map(id, moved))
        armed = self._armed
        self._agent.after_step(self.optimizer, None, None)
        if armed or self._armed:
            self._mark()
        else:
            for mark in marks:
                mark.renew()
        return True

    def _has_moved(self, marks: list[Mark]) -> bool:
        if any(mark.written() for mark in marks):
            return True
        return self._by_values and any(mark.differs() for mark in marks)

    def _look_for_the_first(self, marks: list[Mark]) -> None:
        written = any(mark.written() for mark in marks)
        if not written and not any(mark.differs() for mark in marks):
            if self._runs >= PATIENCE:
                self.stop()
            return
        if _inside_of_an_optimizer():
            self._marks = []
            return
        self._by_values = not written
        moved = (t for mark in marks if (t := mark.tensor) is not None and (mark.written() or not written))
        self.optimizer = HandwrittenOptimizer()
        self.optimizer.add(moved)
        # What was gathered so far belongs to a step of which not all was seen.
        self._agent.window.begin_again()
        self._mark()

    def _reach(self, roots: Sequence[Any], inputs: Sequence[Any] | None) -> None:
        """While looking: mark what this backward reaches, unless it is marked already."""
        if self._runs >= WALKS and self._marks:
            return
        # From the loss to the input, so backwards: in the order of the forward, about.
        found = reversed(list(leaves(roots))) if inputs is None else (t for t in inputs if _is_leaf(t))
        known = {id(mark.tensor) for mark in self._marks}
        fresh = [tensor for tensor in found if id(tensor) not in known]
        compared = {id(tensor) for tensor in spread(fresh, COMPARED)}
        self._marks += [Mark(tensor, id(tensor) in compared) for tensor in fresh]

    def _mark(self) -> None:
        """Mark as they are now: in a window all that may move, else a few."""
        optimizer = self.optimizer
        if optimizer is None:
            return
        most = COMPARED if self._by_values else WITNESSES
        if self._armed:
            tensors = list(self._trained())
            compared = {id(tensor) for tensor in spread(tensors, most)} if self._by_values else set()
            self._marks = [Mark(tensor, id(tensor) in compared) for tensor in tensors]
        else:
            moved = optimizer.moved
            witnesses = [t for t in optimizer.parameters() if moved is None or id(t) in moved]
            self._marks = [Mark(tensor, self._by_values) for tensor in spread(witnesses, most)]

    def _trained(self) -> Iterator[torch.Tensor]:
        """What has moved before, and what the models have come to have since."""
        if self.optimizer is None:
            return
        known = set()
        for tensor in self.optimizer.parameters():
            known.add(id(tensor))
            yield tensor
        for parameter in self._agent.inventory.parameters:
            if parameter.tensor.requires_grad and id(parameter.tensor) not in known:
                yield parameter.tensor

    # -- the next forward -----------------------------------------------------------------------------

    def _expect_entry(self) -> None:
        """Look again when a model begins a forward: before that forward is a part of the wrong step."""
        if not self._entries:
            self._entries = [
                module.register_forward_pre_hook(Hook(self._entered), prepend=True, with_kwargs=True)
                for module in self._agent.window.entries()
            ]

    def _leave_entries(self) -> None:
        entries, self._entries = self._entries, []
        for handle in entries:
            handle.remove()

    def _entered(self, module: torch.nn.Module, args: Any, kwargs: Any = None) -> None:
        if torch.compiler.is_compiling() or transforming() is not None or not self._entries:
            return
        start_s, own_s, armed = clock(), self._agent.meter.own_s, self._armed
        try:
            self._leave_entries()
            self._waits = 0
            if self._look() and self._armed and not armed:
                # The hooks that have come are called for the forwards to come; this one has begun.
                self._agent.window.entered(module, args, kwargs)
        except Exception as error:
            self._agent.guard.take(error)
        self._count(start_s, own_s)


def _is_leaf(tensor: Any) -> bool:
    return isinstance(tensor, torch.Tensor) and tensor.is_leaf and tensor.requires_grad


def _inside_of_an_optimizer() -> bool:
    """Whether a step of `torch.optim` is running: its closure may call backward many times (LBFGS)."""
    module = sys.modules[torch.optim.Optimizer.__module__].__file__
    frame: FrameType | None = sys._getframe()
    # Only which code runs: reading a frame's variables would keep the training's tensors alive.
    while frame is not None:
        if frame.f_code.co_filename == module:
            return True
        frame = frame.f_back
    return False
