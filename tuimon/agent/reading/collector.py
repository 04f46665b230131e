"""From filled rows to what travels: the layout that names them, and a sample's table."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tuimon.agent.finding.inventory import Inventory
from tuimon.agent.reading.norms import joint_norm
from tuimon.agent.reading.points import Point, activity_of
from tuimon.agent.reading.rows import RowTable
from tuimon.agent.reading.shards import own_type
from tuimon.agent.reading.unscaled import unscale
from tuimon.records.layout import LayerInfo, Layout, TensorKind
from tuimon.records.tensors import TensorTable, empty_table

if TYPE_CHECKING:
    from tuimon_kernels import ReadOut


class Collector:
    """Reads the rows out at the end of a step."""

    def __init__(self, inventory: Inventory, rows: RowTable, layouts: int = 0) -> None:
        self._inventory, self._rows = inventory, rows
        self._described: tuple[int, tuple[int | None, ...]] | None = None
        #: Layouts described so far: the id of the last one.
        self.layouts = layouts
        #: The rows of gradients: they are made together, so they stand together.
        self._gradients = range(0)
        #: The rows of what arrives in backward at the outputs of layers.
        self._output_gradients: frozenset[int] = frozenset()

    def describe(self) -> Layout | None:
        """The layout, if rows or the order of execution changed since the last one; else None."""
        points = self._inventory.points
        state = len(self._rows.slots), tuple(point.order for point in points)
        if state == self._described:
            return None
        self._described = state
        self.layouts += 1
        ordered = sorted(points, key=_execution_key(points))
        position = {point.index: i for i, point in enumerate(ordered)}
        tensors = tuple(
            info if info.layer is None else info.at_layer(position[info.layer]) for info in self._rows.infos
        )
        any_ran = any(point.order is not None for point in points)
        layout = Layout(self.layouts, tuple(layer_info(point, any_ran) for point in ordered), tensors)
        gradients = [row for row, info in enumerate(tensors) if info.kind is TensorKind.GRADIENT]
        self._gradients = range(gradients[0], gradients[-1] + 1) if gradients else range(0)
        kind = TensorKind.OUTPUT_GRADIENT
        self._output_gradients = frozenset(row for row, info in enumerate(tensors) if info.kind is kind)
        return layout

    def table(self, parts: list[ReadOut], loss_scale: float | None = None) -> TensorTable:
        """The sample's rows; what was read in backward is divided by the loss scale, if there is one."""
        if not parts:
            return empty_table()
        packed = [part.packed for part in parts]
        table = TensorTable(
            rows=_joined([part.rows for part in parts]),
            counts=_joined([one.counts for one in packed]),
            moments=_joined([one.moments for one in packed]),
            ratios=_joined([part.ratios for part in parts]),
            measured=_joined([part.measured for part in parts]),
            hist_n=_joined([one.hist_n for one in packed]),
            hist_zero=_joined([one.hist_zero for one in packed]),
            hist_first=_joined([one.hist_first for one in packed]),
            hist_width=_joined([one.hist_width for one in packed]),
            hist_counts=_joined([one.hist_counts for one in packed]),
        )
        if loss_scale is not None:
            unscale(table, self._output_gradients, loss_scale)
        return table

    def gradient_norm(self, parts: list[ReadOut]) -> float | None:
        """Norm of all gradients among the rows; None without any, NaN and Inf as in a norm."""
        first, stop = self._gradients.start, self._gradients.stop
        spans = [(part, bisect_left(part.rows, first), bisect_left(part.rows, stop)) for part in parts]
        spans = [(part, start, end) for part, start, end in spans if start < end]
        return joint_norm((part.packed, start, end) for part, start, end in spans) if spans else None


def _joined(columns: list[array[Any]]) -> array[Any]:
    """One column behind the other."""
    whole, *others = columns
    if not others:
        return whole
    # Bins are of two types; the wider one holds both.
    typecode = "q" if any(column.typecode == "q" for column in columns) else whole.typecode
    whole = array(typecode, whole)
    for column in others:
        whole.extend(column if column.typecode == typecode else array(typecode, column))
    return whole


def _execution_key(points: list[Point]) -> Callable[[Point], tuple[int, int, int]]:
    """Sort key: points in the order they ran, each that never ran behind its registered neighbour."""
    keys: dict[int, tuple[int, int, int]] = {}
    before = -1
    for point in points:
        if point.order is not None:
            before = point.order
        keys[point.index] = (before, 0 if point.order is not None else 1, point.index)
    return lambda point: keys[point.index]


def layer_info(point: Point, any_ran: bool) -> LayerInfo:
    """How a point is introduced to viewers; `any_ran`: whether the forward of any point was seen."""
    hidden = None
    if point.order is None:
        # The first step that is observed may have begun before.
        hidden = "its forward has not been called as a module" if any_ran else "no forward has been seen yet"
        if point.compiled:
            hidden = "it runs inside compiled code"
    elif point.slot < 0:
        hidden = "its output is no tensor that a kernel here reads"
    kind = own_type(point.module).__name__
    return LayerInfo(
        point.name, kind, hidden, activity_of(point.module), point.channels, point.calls or None
    )
