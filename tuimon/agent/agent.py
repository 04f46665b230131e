"""The agent: what happens at the borders of a step, and nothing else.

Between observed steps (see `Window`) the optimizers' post-step hook counts. All runs in the thread that
trains; only the publisher has one of its own.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tuimon.agent.finding.inventory import Inventory
from tuimon.agent.guard import Guard
from tuimon.agent.loss.evaluation import Passes
from tuimon.agent.pacing.meter import Meter, clock
from tuimon.agent.pacing.trial import Alternation
from tuimon.agent.stance import EagerSteps
from tuimon.agent.stepping.handwritten import HandwrittenSteps
from tuimon.agent.stepping.optimizers import Optimizers
from tuimon.agent.stepping.scaler import left_out, scalers_in_use
from tuimon.agent.stepping.steps import OptimizerSteps, StepSource
from tuimon.agent.window import Window
from tuimon.records.sample import Log
from tuimon.wire.commands import Cadence, Detach, Measure

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from tuimon.agent.finding.discovery import Discovery
    from tuimon.agent.pacing.schedule import Schedule
    from tuimon.records.record import Record
    from tuimon.wire.commands import Command
    from tuimon_kernels import Backend

#: The modules and parameters are listed again this often at most, in case the model was changed.
STOCKTAKING_S = 1.0
#: More steps than any training takes.
_NEVER = 1 << 62


class Agent:
    """Observes one training process. `publish` takes the records; `leave` is called once it disarmed."""

    def __init__(self, backend: Backend, schedule: Schedule, publish: Callable[[Record], None],
                 leave: Callable[[str], None]) -> None:  # fmt: skip
        self.backend, self.schedule, self._publish, self._leave = backend, schedule, publish, leave
        self.guard = Guard(self._fail)
        self.meter = Meter()
        self.inventory = Inventory(self._stale)
        self.optimizers = Optimizers(self.inventory)
        passes = Passes(lambda: self.optimizers.step, schedule, publish)
        self.window = Window(
            backend, self.inventory, self.optimizers, self.meter, self.guard, passes,
            self._ended_in_backward, self._skipped,
        )  # fmt: skip
        self.handwritten = HandwrittenSteps(self)
        #: Who tells of steps; more kinds may be added before the start.
        self.sources: list[StepSource] = [
            OptimizerSteps(self.before_step, self.after_step), self.handwritten,
        ]  # fmt: skip
        self.window.sources, self.window.handwritten = self.sources, self.handwritten
        self.window.criteria.before_call = self.handwritten.glance
        #: Finds the models where nobody named them.
        self.discovery: Discovery | None = None
        self.commands: list[Command] = []
        self._closed = False
        #: The A/B that goes on; None without one.
        self.alternation: Alternation | None = None
        #: Steps that are not observed before the next that is.
        self._until = 0
        #: Samples published so far.
        self.samples = 0
        #: Those of steps whose forward had passed before there was an agent: the first one, or none.
        self.late_samples = 0
        #: Where the clock of the running optimizer hook stands.
        self._hook_s = 0.0
        self._stock_s = 0.0
        #: Called when more is known of the training than before.
        self.greet: Callable[[], None] = lambda: None

    # -- from outside ---------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to count steps, and observe the first one."""
        self._listen()
        self._arm()

    def start_from_outside(self, discovery: Discovery) -> None:
        """Begin to look for what trains; from any thread."""
        self.discovery = discovery
        discovery.start()
        self._listen()
        if self._closed:  # it was asked to leave before it had begun
            self.stop()

    def _listen(self) -> None:
        for source in self.sources:
            source.start()
        self.window.criteria.install()

    def run_observed_steps_uncompiled(self) -> None:
        """Show the layers of compiled models, too, at the price of other rounding. Before the start."""
        self.window.eager = EagerSteps()
        self.inventory.compiled_show = self.window.eager.available

    def observe_this_step(self) -> None:
        """Observe what is left of the step that the calling thread is in, if it is known what trains."""
        if self.inventory.parameters:
            self.late_samples = 1
            self._stale()
            self._arm()
            self.window.losses.begin_late(scalers_in_use())

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
        if self.window.armed and not self.window.running:
            self._arm()

    def stop(self) -> None:
        """Take everything out of the training. Idempotent; from any thread, also while a hook runs."""
        self._closed = True
        self.guard.retire()
        self.window.close()
        self.window.criteria.remove()
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

    # -- what is watched ------------------------------------------------------------------------------

    def _stale(self) -> None:
        self.window.outdated = True

    def _arm(self) -> None:
        """Begin a window."""
        if self._closed:
            return
        now_s = clock()
        if self.window.outdated or now_s - self._stock_s >= STOCKTAKING_S:
            self._take_stock(now_s)
        self.window.open(first=not self.samples)
        self._heed_stop()

    def _heed_stop(self) -> None:
        """Another thread may have stopped the agent while this one put hooks in."""
        if self._closed:
            self.window.close()

    def _let_go(self) -> None:
        """A model that died takes its rows and parameters with it, though nothing watched steps any more."""
        if self.window.outdated:
            armed = self.window.armed
            self._take_stock(clock())
            if armed:
                self._arm()

    def _take_stock(self, now_s: float) -> None:
        changed = self.inventory.refresh()
        if changed or self.window.outdated:
            self.window.remake(self.backend)
            self.optimizers.forget_positions()
        self.window.outdated, self._stock_s = False, now_s

    def _discovers(self, discovery: Discovery, optimizer: torch.optim.Optimizer, known: list[int]) -> bool:
        """Look for what this optimizer steps, where that is not known; whether something was found."""
        if known and not discovery.searching and not self.optimizers.changed:
            return False
        self.optimizers.changed = False
        if not discovery.stepped(optimizer):
            return False
        self._stale()
        self._take_stock(clock())
        self.greet()
        return True

    # -- steps ----------------------------------------------------------------------------------------

    @property
    def observes_next(self) -> bool:
        """Whether the next step that ends is followed by one that is observed."""
        return not self.window.armed and self._until <= 1

    def before_step(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        """An optimizer is about to step."""
        self._hook_s = clock()
        try:
            self.handwritten.give_way_to(optimizer)
            if self.window.armed and (positions := self.optimizers.positions(optimizer)):
                self._hook_s = self.window.before_step(optimizer, positions, self._hook_s)
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
            if self.window.armed and self.window.outdated:
                self._take_stock(clock())  # what this window saw fits the models no more
            positions = self.optimizers.positions(optimizer)
            if self.discovery is not None and self._discovers(self.discovery, optimizer, positions):
                positions = self.optimizers.positions(optimizer)
            if positions:
                self._stepped(optimizer, positions)
            else:
                self._let_go()
        except Exception as error:
            self.guard.take(error)
        finally:
            self.meter.settle(self._hook_s)

    def _stepped(self, optimizer: Any, positions: list[int]) -> None:
        window = self.window
        if left_out(optimizer):
            window.timer.end("optimizer")
            return
        if window.armed:
            if window.is_of_the_step_before():
                return
            window.after_step(optimizer, positions)
        # An optimizer in backward steps one parameter after the other: the step ends with the backward.
        if self.optimizers.stepped(optimizer) and not window.losses.in_backward:
            self._end_round()
        if self.handwritten.unseen_end:
            window.timer.drop("data")

    def _ended_in_backward(self) -> None:
        self._hook_s = clock()
        self._end_round()
        self.meter.settle(self._hook_s)

    def _skipped(self) -> None:
        self._hook_s = clock()
        self._finish(skipped=True)

    def _end_round(self) -> None:
        self.optimizers.close_round()
        self.window.pace.stepped()
        self.window.criteria.stepped()
        while self.commands:
            self._obey(self.commands.pop(0))
        if self._closed:
            return
        # Asked before a sample makes it begin anew.
        step_s = None if self.alternation is None else self.window.pace.step_s()
        self._look_again()
        if self.alternation is not None:
            self._alternate(self.alternation, step_s)

    def _look_again(self) -> None:
        """Finish the step that was observed, or begin to observe the next one when it is time."""
        if self.window.armed and not self.window.torn:
            self._finish()
        elif self.window.armed:
            self._arm()
        else:
            self._until -= 1
            if self._until <= 0 and self.handwritten.may_begin():
                self._arm()

    def _obey(self, command: Command) -> None:
        if isinstance(command, Measure) and self.alternation is not None:
            self.alternation.asked.append(command.token)  # one measurement serves both
            return
        if isinstance(command, Cadence):
            self._end_alternation("the cadence was changed")
            self.schedule.ask(command.every, command.budget_ratio)
            self._until = min(self._until, self.schedule.every - 1)
            if isinstance(command, Measure):
                self.alternation = Alternation(command.pairs, command.token)
        elif isinstance(command, Detach):
            self.stop()
            self._leave("detached")

    def _alternate(self, alternation: Alternation, step_s: float | None) -> None:
        """A step of an A/B is over: where a block ended with it, the next one begins."""
        if not alternation.every:
            if (every := self.schedule.settled_every) is None:
                return
            alternation.settle(every, step_s)
        if not alternation.stepped(clock()):
            return
        if alternation.pairs_done:
            self._publish(alternation.result(self.optimizers.step))
        watched = alternation.next
        if watched is None:
            self._end_alternation(None)
        elif watched:
            # What opening it costs belongs to the block.
            alternation.begin(clock())
            self._until = 0
            if self.handwritten.may_begin():
                self._arm()
        else:
            self.window.close()
            self._until = _NEVER
            alternation.begin(clock())

    def _end_alternation(self, why: str | None) -> None:
        """Go on as usual; `why` it ended before its end."""
        if self.alternation is None:
            return
        if why is not None:
            self._publish(self.alternation.result(self.optimizers.step, why))
        self.alternation, self._until = None, 1

    def _finish(self, skipped: bool = False) -> None:
        """Publish the sample, and choose when to look again."""
        window = self.window
        self.samples += 1
        layout, sample = window.read(self.samples, self.schedule.every, skipped)
        if layout is not None:
            self._publish(layout)
        self._publish(sample)
        if self.samples in (1, 1 + self.late_samples):
            self.greet()  # now it is known which layers show
        self._hook_s = self.meter.settle(self._hook_s)
        every = self.schedule.observed(window.cost_s, window.pace.bare_step_s())
        # An A/B keeps to the cadence that it began with.
        self._until = ((self.alternation.every if self.alternation else 0) or every) - 1
        window.pace.sampled()
        if self._until > 0:
            window.close()
        else:
            self._arm()
