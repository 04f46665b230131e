"""All that reads tensors in an observed step, over one set of rows; made anew when the model changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tuimon.agent.reading.activations import ActivationProbe
from tuimon.agent.reading.collector import Collector
from tuimon.agent.reading.inputs import InputProbe
from tuimon.agent.reading.parameters import ParameterProbe
from tuimon.agent.reading.rows import RowTable
from tuimon.agent.stepping.backward_gradients import BackwardGradients
from tuimon.agent.stepping.handwritten_optimizer import HandwrittenOptimizer

if TYPE_CHECKING:
    from tuimon.agent.finding.inventory import Inventory
    from tuimon.agent.guard import Guard
    from tuimon.agent.pacing.meter import Meter
    from tuimon.records.layout import Layout
    from tuimon.records.tensors import TensorTable
    from tuimon_kernels import Backend


@dataclass(frozen=True, slots=True)
class Reading:
    """What the probes saw of one step."""

    #: A new layout, when rows or the order of execution changed.
    layout: Layout | None
    layout_id: int
    tensors: TensorTable
    grad_norm: float | None
    grad_norm_preclip: float | None
    dead_window: int


class Probes:
    """The probes of one inventory, and the rows that they fill."""

    def __init__(
        self, inventory: Inventory, backend: Backend, meter: Meter, guard: Guard, earlier: int
    ) -> None:
        self._inventory = inventory
        self._rows = RowTable(backend)
        self._collector = Collector(inventory, self._rows, earlier)
        self.activations = ActivationProbe(self._rows, meter, guard)
        self.inputs = InputProbe(self._rows)
        self.parameters = ParameterProbe(inventory, self._rows, backend)
        for point in inventory.points:
            point.unsettle()
        self.parameters.settle()
        self._backward = BackwardGradients(self.parameters.gradient_slots, self._rows.slots, backend)

    @property
    def layouts(self) -> int:
        """Layouts described so far, those of earlier probes included."""
        return self._collector.layouts

    def begin(self) -> None:
        """Start an observed step with empty rows."""
        self._rows.begin()
        self._start()

    def restart(self) -> None:
        """Start the step over: what was gathered belongs to none."""
        self._rows.restart()
        self._start()

    def _start(self) -> None:
        self.activations.arm(self._inventory.points)
        self.activations.restart(self._inventory.points)
        self.parameters.begin()
        self._backward.begin()

    def before_step(self, optimizer: Any, positions: list[int]) -> None:
        """Something is about to move the parameters at these positions."""
        self.parameters.before_step(positions)
        # A model of another type than before has no rows that its gradients fit.
        if isinstance(optimizer, HandwrittenOptimizer) and not self.parameters.outgrown:
            places = ((self._inventory.position(tensor), g) for tensor, g in optimizer.gradients)
            gradients = {i: gradient for i, gradient in places if i is not None}
            self._backward.read(gradients, optimizer.returned)

    def after_step(self, optimizer: Any, positions: list[int], closure: bool) -> None:
        """It has; `closure`: backward ran inside of the step."""
        if isinstance(optimizer, HandwrittenOptimizer):
            self.parameters.weights_after_step(positions)
            moved = optimizer.moved
            self._backward.settle(
                i for i in positions if moved is None or id(self._inventory.parameters[i].tensor) in moved
            )
        else:
            self.parameters.after_step(positions, compare=closure)

    def disarm(self) -> None:
        """Take all hooks out and keep no tensor."""
        self.activations.disarm()
        self.parameters.forget()
        self._backward.forget()

    def read(self, loss_scale: float | None) -> Reading:
        """Read the rows out at the end of a step."""
        self.activations.flush()
        left, parts = self._backward.read_out(), self._rows.read_out()
        layout = self._collector.describe()
        if left:
            norm = self._collector.gradient_norm(left) if self._backward.known else None
            preclip = self._backward.norm_before_clip(norm, loss_scale)
        else:
            norm = self._collector.gradient_norm(parts)
            preclip = self.parameters.preclip_norm(norm, loss_scale)
        return Reading(
            layout,
            self._collector.layouts,
            self._collector.table(left + parts, loss_scale),
            norm,
            preclip,
            self._rows.dead_window,
        )
