"""The agent: what happens at the borders of a step, and nothing else.

An observed step is a *window*, from one step's end to the next one's. Hooks exist inside of windows only;
between them the optimizers' post-step hook counts (promise P2). All runs in the thread that trains; only
the publisher has one of its own.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from tuimon.agent.activations import in_backward
from tuimon.agent.criteria import CriterionProbe
from tuimon.agent.engine import EngineTap
from tuimon.agent.evaluation import Passes
from tuimon.agent.guard import Guard
from tuimon.agent.handwritten import HandwrittenSteps
from tuimon.agent.hooks import Hook
from tuimon.agent.inventory import Inventory, runs_compiled
from tuimon.agent.losses import LossProbe
from tuimon.agent.memory import cuda_bytes, rss_bytes
from tuimon.agent.meter import Meter, clock
from tuimon.agent.optimizers import Optimizers
from tuimon.agent.pace import Pace
from tuimon.agent.probes import Probes, Reading
from tuimon.agent.scaler import left_out
from tuimon.agent.schedule import Schedule
from tuimon.agent.stance import EagerSteps
from tuimon.agent.steps import OptimizerSteps, StepSource
from tuimon.agent.timing import StepTimer
from tuimon.agent.transforms import transforming
from tuimon.records.sample import Log, Sample
from tuimon.wire.commands import Cadence, Detach

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch.utils.hooks import RemovableHandle

    from tuimon.agent.discovery import Discovery
    from tuimon.records.record import Record
    from tuimon.wire.commands import Command
    from tuimon_kernels import Backend

#: The modules and parameters are listed again this often at most, in case the model was changed.
STOCKTAKING_S = 1.0


class Agent:
    """Observes one training process. `publish` takes the records; `leave` is called once it disarmed."""

    def __init__(self, backend: Backend, schedule: Schedule, publish: Callable[[Record], None],
                 leave: Callable[[str], None]) -> None:  # fmt: skip
        self.backend, self.schedule, self._publish, self._leave = backend, schedule, publish, leave
        self.guard = Guard(self._fail)
        self.meter = Meter()
        self.inventory = Inventory(self._stale)
        self.optimizers = Optimizers(self.inventory)
        self._timer, self._pace = StepTimer(self.meter), Pace(self.meter)
        self.tap = EngineTap(self.guard)
        self.losses = LossProbe(
            self.guard, self.tap, self._before_backward, self._after_backward, self._restart, self._skip,
            self.inventory.has_any, lambda count: self.criteria.summed(count),
        )  # fmt: skip
        #: Who tells of steps; more kinds may be added before the start.
        self.handwritten = HandwrittenSteps(self)
        self.sources: list[StepSource] = [
            OptimizerSteps(self.before_step, self.after_step), self.handwritten,
        ]  # fmt: skip
        #: Runs observed steps uncompiled, where that was asked for.
        self.eager: EagerSteps | None = None
        #: Finds the models where nobody named them.
        self.discovery: Discovery | None = None
        self.criteria = CriterionProbe(
            self.meter, self.inventory, Passes(lambda: self.optimizers.step, schedule, publish),
            self._evaluated,
        )  # fmt: skip
        self._window_handles: list[RemovableHandle] = []
        self.commands: list[Command] = []
        self._armed = self._outdated = self._closed = False
        self._running: torch.nn.Module | None = None
        #: Steps that are not observed before the next that is.
        self._until = 0
        #: Samples published so far.
        self.samples = 0
        #: Whether the first window began in the middle of a backward, by an optimizer in there.
        self._torn = False
        #: Where the clock of the running optimizer hook stands.
        self._hook_s = 0.0
        self._stock_s = 0.0
        self._losses: dict[str, float | None] = {}
        self._divisor: int | None = None
        self._first_backward = self._in_step = 0
        #: Whether an optimizer stepped in this window for the backward before it.
        self._straggled = False
        #: Called when more is known of the training than before.
        self.greet: Callable[[], None] = lambda: None
        self._probes = Probes(self.inventory, backend, self.meter, self.guard, 0)

    # -- from outside ---------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to count steps, and observe the first one."""
        for source in self.sources:
            source.start()
        self.criteria.install()
        self._arm()

    def start_from_outside(self, discovery: Discovery) -> None:
        """Begin to look for what trains; from any thread."""
        self.discovery = discovery
        discovery.start()
        for source in self.sources:
            source.start()
        self.criteria.install()

    def run_observed_steps_uncompiled(self) -> None:
        """Show the layers of compiled models, too, at the price of other rounding. Before the start."""
        self.eager = EagerSteps()
        self.inventory.compiled_show = self.eager.available

    def observe_this_step(self) -> None:
        """Observe what is left of the step that the calling thread is in, if it is known what trains."""
        if self.inventory.parameters:
            self._stale()
            self._arm()

    def add_root(self, root: torch.nn.Module, name: str | None) -> None:
        """Watch one more model from the next window on."""
        self.inventory.add(root, name)
        self._restock()

    def remove_root(self, root: torch.nn.Module) -> None:
        """Watch this one no more; the rest from the next window on."""
        self.inventory.remove(root)
        self._restock()

    def _restock(self) -> None:
        self._stale()
        if self._armed and not self._running:
            self._arm()

    def stop(self) -> None:
        """Take everything out of the training. Idempotent; from any thread, also while a hook runs."""
        self._closed = True
        self.guard.retire()
        self._disarm()
        self.criteria.remove()
        for source in self.sources:
            source.stop()
        if self.discovery is not None:
            self.discovery.stop()

    def log(self, values: Mapping[str, float]) -> None:
        """Publish scalars that the training reports."""
        if not self._closed:
            self._publish(Log(self.optimizers.step, time.time(), dict(values)))

    def _fail(self, reason: str) -> None:
        self.stop()
        self._leave(f"disarmed: {reason}")

    def _evaluated(self) -> None:
        # Validation is no wait for data.
        self._timer.restart("data")

    def _stale(self) -> None:
        self._outdated = True

    # -- windows --------------------------------------------------------------------------------------

    def _arm(self) -> None:
        """Begin a window: hooks in, rows empty."""
        if self._closed:
            return
        now_s = clock()
        if self._outdated or now_s - self._stock_s >= STOCKTAKING_S:
            self._take_stock(now_s)
        if not self._armed:
            self._armed = True
            for _, root in self.inventory.roots():
                # With `model.compile()` a hook on the model itself would become part of the compiled code.
                if runs_compiled(root) and self.eager is None:
                    continue
                begins = root.register_forward_pre_hook(Hook(self._root_begins), with_kwargs=True)
                self._window_handles += [begins, root.register_forward_hook(Hook(self._root_ends))]
            for source in self.sources:
                source.arm()
            self.losses.arm()
            if self.eager is not None:
                self.eager.begin()
        self._torn = not self.samples and in_backward() != -1
        self._pace.begin_window()
        self._probes.begin()
        self._begin()
        self._heed_stop()

    def _heed_stop(self) -> None:
        """Another thread may have stopped the agent while this one put hooks in."""
        if self._closed:
            self._disarm()

    def _begin(self) -> None:
        self._running, self._losses, self._first_backward = None, {}, 0
        self._straggled = False
        self.losses.begin()
        self.criteria.begin()
        self._timer.reset()

    def _let_go(self) -> None:
        """A model that died takes its rows and parameters with it, though nothing watched steps any more."""
        if self._outdated:
            armed = self._armed
            self._take_stock(clock())
            if armed:
                self._arm()

    def _take_stock(self, now_s: float) -> None:
        changed = self.inventory.refresh()
        if changed or self._outdated:
            if self._armed:
                self._disarm()
            self.optimizers.forget_positions()
            earlier = self._probes.layouts
            self._probes = Probes(self.inventory, self.backend, self.meter, self.guard, earlier)
        self._outdated, self._stock_s = False, now_s

    def _disarm(self) -> None:
        """End a window: hooks out, no tensor kept."""
        self._armed = False
        if self.eager is not None:
            self.eager.end()
        handles, self._window_handles = self._window_handles, []
        for handle in handles:
            handle.remove()
        for source in self.sources:
            source.disarm()
        self.losses.disarm()
        self.criteria.disarm()
        self._probes.disarm()

    def _restart(self) -> None:
        """An exception ended the step: what was gathered belongs to no step. Begin again."""
        self._probes.restart()
        self._begin()

    # -- for steps that nothing announces -------------------------------------------------------------

    def begin_again(self) -> None:
        """What was gathered in this window, if there is one, is no whole step."""
        if self._armed:
            self._restart()
            self._timer.drop("data")

    @property
    def observes_next(self) -> bool:
        """Whether the next step that ends is followed by one that is observed."""
        return not self._armed and self._until <= 1

    def entries(self) -> list[torch.nn.Module]:
        """Whose forward begins a step: the roots, or where these are not called all that is read."""
        roots = [root for _, root in self.inventory.roots() if not runs_compiled(root)]
        if self._probes.activations.root() is not None:
            return roots
        return roots + [p.module for p in self.inventory.points if not p.compiled and p.module not in roots]

    def entered(self, module: torch.nn.Module, args: Any, kwargs: Any) -> None:
        """A window began in this module's call, before its forward."""
        if any(root is module for _, root in self.inventory.roots()):
            self._root_begins(module, args, kwargs)

    # -- inside a window ------------------------------------------------------------------------------

    def _root_begins(self, root: torch.nn.Module, args: Any, kwargs: Any = None) -> None:
        # Without `kwargs` when it was taken away after this call had begun: PyTorch asks late what it takes.
        if torch.compiler.is_compiling() or transforming() is not None:
            return
        start_s = clock()
        try:
            self._probes.activations.root = weakref.ref(root)
            self._probes.activations.learns = torch.is_grad_enabled()
            evaluates = not root.training and not self._probes.activations.eval_is_training
            if not self._armed or evaluates or not torch.is_grad_enabled():
                return
            if self._running is root:
                self._restart()
            elif self._running is not None:
                return
            self._running = root
            self.criteria.close_pass()
            self._timer.end("data")
            self._probes.inputs.read(args, kwargs or {})
            start_s = self.meter.settle(start_s)
            self._timer.begin("forward")
        except Exception as error:
            self.guard.take(error)
        finally:
            self.meter.own_s += clock() - start_s
            self.meter.calls += 1

    def _root_ends(self, root: torch.nn.Module, args: Any, output: Any) -> None:
        if not torch.compiler.is_compiling() and self._running is root:
            self._running = None
            self._timer.end("forward")

    def _before_backward(self) -> None:
        root = self._probes.activations.root()
        if root is not None and self._running is None and not root.training:
            self._probes.activations.eval_is_training = True
        self.criteria.before_backward()
        self._timer.end("forward")
        self._running = None
        self._timed(self._probes.activations.flush)
        self._probes.activations.in_backward = True
        self._timer.begin("backward")

    def _after_backward(self) -> None:
        self._timer.end("backward")
        self._probes.activations.in_backward = False
        self._timed(self._probes.activations.flush)
        # A model that died has taken its parameters out of the inventory.
        if not self._outdated and self.handwritten.optimizer is None:
            self._timed(self._probes.parameters.after_backward)
        if self.optimizers.complete:
            self._hook_s = clock()
            self._end_round()
            self.meter.settle(self._hook_s)

    def _timed(self, act: Callable[[], None]) -> None:
        start_s = clock()
        act()
        self.meter.own_s += clock() - start_s

    def before_step(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        """An optimizer is about to step."""
        self._hook_s = clock()
        try:
            self.handwritten.give_way_to(optimizer)
            if self._armed and (positions := self.optimizers.positions(optimizer)):
                self._in_step = self.losses.microbatches
                self.criteria.before_step()
                if not self.optimizers.has_stepped(optimizer):
                    self._probes.before_step(optimizer, positions)
                self._hook_s = self.meter.settle(self._hook_s)
                if not self.handwritten.unseen_end:
                    self._timer.begin("optimizer")
        except Exception as error:
            self.guard.take(error)
        finally:
            self.meter.settle(self._hook_s)
            self.meter.calls += 1

    def after_step(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        """An optimizer has stepped."""
        self._hook_s = clock()
        try:
            self.handwritten.give_way_to(optimizer)
            if self._armed and self._outdated:
                self._take_stock(clock())  # what this window saw fits the models no more
            positions = self.optimizers.positions(optimizer)
            if self.discovery is not None and self._discovers(self.discovery, optimizer, positions):
                positions = self.optimizers.positions(optimizer)
            if not positions:
                self._let_go()
                return
            if left_out(optimizer):
                self._timer.end("optimizer")
                return
            if self._armed and self._is_of_the_step_before():
                return
            if self._armed:
                self._observe_step(optimizer, positions)
            # An optimizer in backward steps one parameter after the other: the step ends with the backward.
            if self.optimizers.stepped(optimizer) and not self.losses.in_backward:
                self._end_round()
            if self.handwritten.unseen_end:
                self._timer.drop("data")
        except Exception as error:
            self.guard.take(error)
        finally:
            self.meter.settle(self._hook_s)

    def _discovers(self, discovery: Discovery, optimizer: torch.optim.Optimizer, known: list[int]) -> bool:
        """Look for what this optimizer steps, where that is not known; whether something was found."""
        if known and not discovery.searching and not self.optimizers.changed:
            return False
        self.optimizers.changed = False
        if not discovery.stepped(optimizer):
            return False
        self._outdated = True
        self._take_stock(clock())
        self.greet()
        return True

    def _is_of_the_step_before(self) -> bool:
        """Whether a backward before this window is what the optimizer steps for, behind others that did.

        Then the window began in the middle of a step, as it may after an attach. Once a window at most, so
        that it comes to an end also where backward is not seen.
        """
        if self._straggled or self.losses.microbatches or len(self.optimizers.known) < 2:
            return False
        self._straggled = True
        return True

    def _observe_step(self, optimizer: torch.optim.Optimizer, positions: list[int]) -> None:
        self._timer.end("optimizer")
        self.criteria.after_step()
        closure = self.losses.microbatches > self._in_step
        self._probes.activations.flush()
        first, self._first_backward = self._first_backward, self.losses.microbatches
        if self.optimizers.has_stepped(optimizer):
            return  # a critic with several turns in a round: its first one is shown
        self._probes.after_step(optimizer, positions, closure)
        # A closure is evaluated as often as the optimizer likes (LBFGS): its first loss is that of the step.
        upto = self._in_step + 1 if closure else None
        if self.losses.microbatches > first or not self._losses:
            name = f"{type(optimizer).__name__}.{self.optimizers.known.index(optimizer)}"
            self._losses[name] = self.losses.loss(first, upto)
            self._divisor = self.losses.divisor(first, upto)

    def _skip(self) -> None:
        """A gradient scaler finished its step. Without an optimizer's step since backward it was skipped."""
        self._hook_s = clock()
        if self._armed and self.losses.microbatches > self._first_backward and not self._losses:
            self._losses["skipped"], self._divisor = self.losses.loss(), self.losses.divisor()
            self._finish(skipped=True)

    def _end_round(self) -> None:
        self.optimizers.close_round()
        self._pace.stepped()
        self.criteria.stepped()
        while self.commands:
            self._obey(self.commands.pop(0))
        if self._closed:
            return
        if self._armed and not self._torn:
            self._finish()
        elif self._armed:
            self._arm()
        else:
            self._until -= 1
            if self._until <= 0 and self.handwritten.may_begin():
                self._arm()

    def _obey(self, command: Command) -> None:
        if isinstance(command, Cadence):
            self.schedule.ask(command.every, command.budget_ratio)
            self._until = min(self._until, self.schedule.every - 1)
        elif isinstance(command, Detach):
            self.stop()
            self._leave("detached")

    # -- the end of a window --------------------------------------------------------------------------

    def _finish(self, skipped: bool = False) -> None:
        """Publish the sample, and choose when to look again."""
        reading = self._probes.read(self.losses.loss_scale)
        self._outdated = self._outdated or self._probes.parameters.outgrown
        if reading.layout is not None:
            self._publish(reading.layout)
        self._publish(self._sample(reading, skipped))
        if self.samples == 1:
            self.greet()  # now it is known which layers show
        self._hook_s = self.meter.settle(self._hook_s)
        self._until = self.schedule.observed(self._cost_s(), self._pace.bare_step_s()) - 1
        self._pace.sampled()
        if self._until > 0:
            self._disarm()
        else:
            self._arm()

    def _cost_s(self) -> float:
        """What this window took from the training: also the time that compiled code would have saved."""
        bare_s = self._pace.bare_step_s()
        if self.eager is None or not self.eager.active or bare_s is None:
            return self._pace.cost_s
        return max(self._pace.cost_s, self._pace.window_s - bare_s)

    def _sample(self, reading: Reading, skipped: bool) -> Sample:
        self.samples += 1
        scale = self.losses.loss_scale
        losses = {name: loss for name, loss in self._losses.items() if loss is not None}
        return Sample(
            index=self.samples,
            step=self.optimizers.step,
            time_s=time.time(),
            layout=reading.layout_id,
            loss=next(iter(self._losses.values()), None),
            loss_divisor=self._divisor if len(self._losses) == 1 else None,
            losses=losses if len(self._losses) > 1 else {},
            lr=self.optimizers.learning_rates(),
            grad_norm=reading.grad_norm,
            grad_norm_preclip=reading.grad_norm_preclip,
            microbatches=self.losses.microbatches,
            step_s=self._pace.step_s(),
            times=self._timer.times(),
            overhead_ratio=self.meter.ratio(),
            overhead_s=self._pace.cost_s,
            every=self.schedule.every,
            dead_window=reading.dead_window,
            rss_bytes=rss_bytes(),
            cuda_bytes=cuda_bytes(),
            loss_scale=scale,
            skipped=skipped if scale is not None else None,
            trouble=self.criteria.news(),
            criteria=self.criteria.criteria(),
            tensors=reading.tensors,
        )
