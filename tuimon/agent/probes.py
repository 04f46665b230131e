"""All that reads tensors in an observed step, over one set of rows; made anew when the model changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tuimon.agent.activations import ActivationProbe
from tuimon.agent.collector import Collector
from tuimon.agent.inputs import InputProbe
from tuimon.agent.parameters import ParameterProbe
from tuimon.agent.rows import RowTable

if TYPE_CHECKING:
    from tuimon.agent.guard import Guard
    from tuimon.agent.inventory import Inventory
    from tuimon.agent.meter import Meter
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

    def disarm(self) -> None:
        """Take all hooks out and keep no tensor."""
        self.activations.disarm()
        self.parameters.forget()

    def read(self, loss_scale: float | None) -> Reading:
        """Read the rows out at the end of a step."""
        self.activations.flush()
        touched, parts = self._rows.read_out()
        layout = self._collector.describe()
        norm = self._collector.gradient_norm(touched, parts)
        return Reading(
            layout,
            self._collector.layouts,
            self._collector.table(touched, parts, self.parameters.updates()),
            norm,
            self.parameters.preclip_norm(norm, loss_scale),
            self._rows.dead_window,
        )

