"""An observed step, from one step's end to the next one's: hooks in, what they gather, hooks out.

Hooks exist inside of windows only (promise P2). All of it runs in the thread that trains.
"""

from __future__ import annotations

import time
import weakref
from typing import TYPE_CHECKING, Any

import torch

from tuimon.agent.finding.inventory import runs_compiled
from tuimon.agent.hooks import Hook
from tuimon.agent.loss.criteria import CriterionProbe
from tuimon.agent.loss.losses import LossProbe
from tuimon.agent.pacing.memory import cuda_bytes, rss_bytes
from tuimon.agent.pacing.meter import clock
from tuimon.agent.pacing.pace import Pace
from tuimon.agent.pacing.timing import StepTimer
from tuimon.agent.reading.activations import in_backward
from tuimon.agent.reading.probes import Probes
from tuimon.agent.reading.transforms import transforming
from tuimon.agent.stepping.engine import EngineTap
from tuimon.records.sample import Sample

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch.utils.hooks import RemovableHandle

    from tuimon.agent.finding.inventory import Inventory
    from tuimon.agent.guard import Guard
    from tuimon.agent.loss.evaluation import Passes
    from tuimon.agent.pacing.meter import Meter
    from tuimon.agent.stance import EagerSteps
    from tuimon.agent.stepping.handwritten import HandwrittenSteps
    from tuimon.agent.stepping.optimizers import Optimizers
    from tuimon.agent.stepping.steps import StepSource
    from tuimon.records.layout import Layout
    from tuimon_kernels import Backend


class Window:
    """Opened and closed as often as the schedule says; between that it keeps nothing of the training.

    Args:
        backend: the kernels that read tensors.
        inventory: what is watched.
        optimizers: what steps it.
        meter: takes what observing costs.
        guard: takes errors of hooks.
        passes: takes losses of validation.
        ended: called when a backward has ended inside of which all optimizers stepped.
        skipped: called when a gradient scaler has skipped the step.
    """

    def __init__(
        self,
        backend: Backend,
        inventory: Inventory,
        optimizers: Optimizers,
        meter: Meter,
        guard: Guard,
        passes: Passes,
        ended: Callable[[], None],
        skipped: Callable[[], None],
    ) -> None:
        self._inventory, self._optimizers, self._meter, self._guard = inventory, optimizers, meter, guard
        self._ended, self._skipped = ended, skipped
        self.timer, self.pace = StepTimer(meter), Pace(meter)
        self.tap = EngineTap(guard)
        self.losses = LossProbe(
            guard, self.tap, self._before_backward, self._after_backward, self._restart, self._skip,
            inventory.has_any, lambda count: self.criteria.summed(count),
        )  # fmt: skip
        self.criteria = CriterionProbe(meter, inventory, passes, self._evaluated)
        self.probes = Probes(inventory, backend, meter, guard, 0)
        #: Who tells of steps, and the one of them that finds out about steps that nobody announces.
        self.sources: list[StepSource] = []
        self.handwritten: HandwrittenSteps
        #: Runs observed steps uncompiled, where that was asked for.
        self.eager: EagerSteps | None = None
        self.armed = False
        #: Whether the models have changed, so that rows and parameters fit them no more.
        self.outdated = False
        #: Whether the first window began in the middle of a backward, by an optimizer in there.
        self.torn = False
        #: The root whose forward runs.
        self.running: torch.nn.Module | None = None
        self._handles: list[RemovableHandle] = []
        self._losses: dict[str, float | None] = {}
        self._divisor: int | None = None
        self._first_backward = self._in_step = 0
        #: Whether an optimizer stepped in this window for the backward before it.
        self._straggled = False

    # -- in and out -----------------------------------------------------------------------------------

    def open(self, first: bool) -> None:
        """Hooks in, rows empty; `first`: no step has been observed before."""
        if not self.armed:
            self.armed = True
            for _, root in self._inventory.roots():
                # With `model.compile()` a hook on the model itself would become part of the compiled code.
                if runs_compiled(root) and self.eager is None:
                    continue
                begins = root.register_forward_pre_hook(Hook(self._root_begins), with_kwargs=True)
                self._handles += [begins, root.register_forward_hook(Hook(self._root_ends))]
            for source in self.sources:
                source.arm()
            self.losses.arm()
            if self.eager is not None:
                self.eager.begin()
        self.torn = first and in_backward() != -1
        self.pace.begin_window()
        self.probes.begin()
        self._begin()

    def close(self) -> None:
        """Hooks out, no tensor kept. Idempotent; from any thread."""
        self.armed = False
        if self.eager is not None:
            self.eager.end()
        handles, self._handles = self._handles, []
        for handle in handles:
            handle.remove()
        for source in self.sources:
            source.disarm()
        self.losses.disarm()
        self.criteria.disarm()
        self.probes.disarm()

    def remake(self, backend: Backend) -> None:
        """Fit the models as they are now; closes it."""
        if self.armed:
            self.close()
        self.probes = Probes(self._inventory, backend, self._meter, self._guard, self.probes.layouts)

    def _begin(self) -> None:
        self.running, self._losses, self._first_backward = None, {}, 0
        self._straggled = False
        self.losses.begin()
        self.criteria.begin()
        self.timer.reset()

    def _restart(self) -> None:
        """An exception ended the step: what was gathered belongs to no step. Begin again."""
        self.probes.restart()
        self._begin()

    # -- for steps that nothing announces -------------------------------------------------------------

    def begin_again(self) -> None:
        """What was gathered, if it is open, is no whole step."""
        if self.armed:
            self._restart()
            self.timer.drop("data")

    def entries(self) -> list[torch.nn.Module]:
        """Whose forward begins a step: the roots, or where these are not called all that is read."""
        roots = [root for _, root in self._inventory.roots() if not runs_compiled(root)]
        if self.probes.activations.root() is not None:
            return roots
        return roots + [p.module for p in self._inventory.points if not p.compiled and p.module not in roots]

    def entered(self, module: torch.nn.Module, args: Any, kwargs: Any) -> None:
        """It was opened in this module's call, before its forward."""
        if any(root is module for _, root in self._inventory.roots()):
            self._root_begins(module, args, kwargs)

    # -- forward and backward -------------------------------------------------------------------------

    def _root_begins(self, root: torch.nn.Module, args: Any, kwargs: Any = None) -> None:
        # Without `kwargs` when it was taken away after this call had begun: PyTorch asks late what it takes.
        if torch.compiler.is_compiling() or transforming() is not None:
            return
        start_s = clock()
        try:
            self.probes.activations.root = weakref.ref(root)
            self.probes.activations.learns = torch.is_grad_enabled()
            evaluates = not root.training and not self.probes.activations.eval_is_training
            if not self.armed or evaluates or not torch.is_grad_enabled():
                return
            if self.running is root:
                self._restart()
            elif self.running is not None:
                return
            self.running = root
            self.criteria.close_pass()
            self.timer.end("data")
            self.probes.inputs.read(args, kwargs or {})
            start_s = self._meter.settle(start_s)
            self.timer.begin("forward")
        except Exception as error:
            self._guard.take(error)
        finally:
            self._meter.own_s += clock() - start_s
            self._meter.calls += 1

    def _root_ends(self, root: torch.nn.Module, args: Any, output: Any) -> None:
        if not torch.compiler.is_compiling() and self.running is root:
            self.running = None
            self.timer.end("forward")

    def _evaluated(self) -> None:
        # Validation is no wait for data.
        self.timer.restart("data")

    def _before_backward(self) -> None:
        root = self.probes.activations.root()
        if root is not None and self.running is None and not root.training:
            self.probes.activations.eval_is_training = True
        self.criteria.before_backward()
        self.timer.end("forward")
        self.running = None
        self._timed(self.probes.activations.flush)
        self.probes.activations.in_backward = True
        self.timer.begin("backward")

    def _after_backward(self) -> None:
        self.timer.end("backward")
        self.probes.activations.in_backward = False
        self._timed(self.probes.activations.flush)
        # A model that died has taken its parameters out of the inventory.
        if not self.outdated and self.handwritten.optimizer is None:
            self._timed(self.probes.parameters.after_backward)
        if self._optimizers.complete:
            self._ended()

    def _timed(self, act: Callable[[], None]) -> None:
        start_s = clock()
        act()
        self._meter.own_s += clock() - start_s

    # -- the optimizer --------------------------------------------------------------------------------

    def before_step(self, optimizer: Any, positions: list[int], start_s: float) -> float:
        """It is about to step; the time since `start_s` is ours, and the clock to count on from returned."""
        self._in_step = self.losses.microbatches
        self.criteria.before_step()
        if not self._optimizers.has_stepped(optimizer):
            self.probes.before_step(optimizer, positions)
        now_s = self._meter.settle(start_s)
        if not self.handwritten.unseen_end:
            self.timer.begin("optimizer")
        return now_s

    def is_of_the_step_before(self) -> bool:
        """Whether a backward before this window is what an optimizer steps for, behind others that did.

        Then the window began in the middle of a step, as it may after an attach. Once a window at most, so
        that it comes to an end also where backward is not seen.
        """
        if self._straggled or self.losses.microbatches or len(self._optimizers.known) < 2:
            return False
        self._straggled = True
        return True

    def after_step(self, optimizer: Any, positions: list[int]) -> None:
        """It has stepped."""
        self.timer.end("optimizer")
        self.criteria.after_step()
        closure = self.losses.microbatches > self._in_step
        self.probes.activations.flush()
        first, self._first_backward = self._first_backward, self.losses.microbatches
        if self._optimizers.has_stepped(optimizer):
            return  # a critic with several turns in a round: its first one is shown
        self.probes.after_step(optimizer, positions, closure)
        # A closure is evaluated as often as the optimizer likes (LBFGS): its first loss is that of the step.
        upto = self._in_step + 1 if closure else None
        if self.losses.microbatches > first or not self._losses:
            name = f"{type(optimizer).__name__}.{self._optimizers.known.index(optimizer)}"
            self._losses[name] = self.losses.loss(first, upto)
            self._divisor = self.losses.divisor(first, upto)

    def _skip(self) -> None:
        """A gradient scaler finished its step. Without an optimizer's step since backward it was skipped."""
        if self.armed and self.losses.microbatches > self._first_backward and not self._losses:
            self._losses["skipped"], self._divisor = self.losses.loss(), self.losses.divisor()
            self._skipped()

    # -- what came of it ------------------------------------------------------------------------------

    @property
    def cost_s(self) -> float:
        """What it took from the training: also the time that compiled code would have saved."""
        bare_s = self.pace.bare_step_s()
        if self.eager is None or not self.eager.active or bare_s is None:
            return self.pace.cost_s
        return max(self.pace.cost_s, self.pace.window_s - bare_s)

    def read(self, index: int, every: int, skipped: bool) -> tuple[Layout | None, Sample]:
        """The sample of that number, and the layout if it is a new one; `every`: steps between samples."""
        reading = self.probes.read(self.losses.step_scale)
        self.outdated = self.outdated or self.probes.parameters.outgrown
        scale = self.losses.step_scale
        losses = {name: loss for name, loss in self._losses.items() if loss is not None}
        return reading.layout, Sample(
            index=index,
            step=self._optimizers.step,
            time_s=time.time(),
            layout=reading.layout_id,
            loss=next(iter(self._losses.values()), None),
            loss_divisor=self._divisor if len(self._losses) == 1 else None,
            losses=losses if len(self._losses) > 1 else {},
            lr=self._optimizers.learning_rates(),
            grad_norm=reading.grad_norm,
            grad_norm_preclip=reading.grad_norm_preclip,
            microbatches=self.losses.microbatches,
            step_s=self.pace.step_s(),
            times=self.timer.times(),
            overhead_ratio=self._meter.ratio(),
            overhead_s=self.pace.cost_s,
            every=every,
            dead_window=reading.dead_window,
            rss_bytes=rss_bytes(),
            cuda_bytes=cuda_bytes(),
            loss_scale=scale,
            skipped=skipped if scale is not None else None,
            trouble=self.criteria.news(),
            criteria=self.criteria.criteria(),
            tensors=reading.tensors,
        )
