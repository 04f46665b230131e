"""From filled rows to what travels: the layout that names them, and a sample's table."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from tuimon.agent.inventory import Inventory
from tuimon.agent.parameters import norm_of
from tuimon.agent.points import Point, activity_of
from tuimon.agent.rows import RowTable
from tuimon.records.layout import LayerInfo, Layout, TensorKind
from tuimon.records.tensors import DEAD_RATIO, SATURATED_RATIO, UPDATE_RATIO, TensorTable, empty_table

if TYPE_CHECKING:
    from tuimon_kernels import Packed


class Collector:
    """Reads the rows out at the end of a step."""

    def __init__(self, inventory: Inventory, rows: RowTable) -> None:
        self._inventory, self._rows = inventory, rows
        self._described: tuple[int, tuple[int | None, ...]] | None = None
        self.layout: Layout | None = None
        self._layouts = 0
        self._saturation = np.zeros(0)

    def describe(self) -> Layout | None:
        """The layout, if rows or the order of execution changed since the last one; else None."""
        points = self._inventory.points
        state = len(self._rows.slots), tuple(point.order for point in points)
        if state == self._described:
            return None
        self._described = state
        self._layouts += 1
        ordered = sorted(points, key=_execution_key(points))
        position = {point.index: i for i, point in enumerate(ordered)}
        tensors = tuple(
            info if info.layer is None else info.at_layer(position[info.layer]) for info in self._rows.infos
        )
        self.layout = Layout(self._layouts, tuple(layer_info(point) for point in ordered), tensors)
        self._saturation = np.array([self._saturation_factor(row) for row in range(len(tensors))])
        return self.layout

    def _saturation_factor(self, row: int) -> float:
        """What a row's count at its limits is multiplied with, over its elements; NaN without limits."""
        slot, info = self._rows.slots[row], self._rows.infos[row]
        if slot.limits is None:
            return math.nan
        # Of a softmax's row of classes only one can be at its limit, so rows are counted, not elements.
        softmax = slot.limits[0] == -math.inf and slot.limits[1] < 1.0
        return float(info.shape[-1]) if softmax and info.shape else 1.0

    def table(self, touched: list[int], parts: list[Packed], updates: Mapping[int, float]) -> TensorTable:
        """The sample's rows; `updates` gives update ratios by row."""
        if not touched:
            return empty_table()
        k = len(touched)
        counts, moments = _joined(parts, "counts"), _joined(parts, "moments")
        ratios, measured = np.zeros((k, 3)), np.zeros(k, dtype=np.uint8)
        where = {row: i for i, row in enumerate(touched)}
        for column, bit, values in ((0, UPDATE_RATIO, updates), (1, DEAD_RATIO, self._rows.dead_ratios())):
            found = [(where[row], value) for row, value in values.items() if row in where]
            at = [i for i, _ in found]
            ratios[at, column] = [value for _, value in found]
            measured[at] |= bit
        factor = self._saturation[touched]
        at = np.flatnonzero(~np.isnan(factor) & (counts[:, 0] > 0))
        ratios[at, 2] = counts[at, 5] * factor[at] / counts[at, 0]
        measured[at] |= SATURATED_RATIO
        bins = _joined(parts, "hist_counts")
        return TensorTable(
            rows=_array("i", np.array(touched, dtype=np.int32)),
            counts=_array("q", counts),
            moments=_array("d", moments),
            ratios=_array("d", ratios),
            measured=_array("B", measured),
            hist_n=_array("q", _joined(parts, "hist_n")),
            hist_zero=_array("q", _joined(parts, "hist_zero")),
            hist_first=_array("h", _joined(parts, "hist_first")),
            hist_width=_array("h", _joined(parts, "hist_width")),
            hist_counts=_array("I" if bins.dtype == np.uint32 else "q", bins),
        )

    def gradient_norm(self, table: TensorTable) -> float | None:
        """Norm of all gradient rows of a table; None without any."""
        infos = self._rows.infos
        at = [i for i, row in enumerate(table.rows) if infos[row].kind is TensorKind.GRADIENT]
        counts = np.frombuffer(table.counts, dtype=np.int64).reshape(-1, 6)
        return norm_of(counts[at], np.frombuffer(table.moments).reshape(-1, 4)[at]) if at else None


def _joined(parts: list[Packed], column: str) -> np.ndarray:  # type: ignore[type-arg]
    return getattr(parts[0], column) if len(parts) == 1 else np.concatenate([getattr(p, column) for p in parts])


def _array(typecode: str, values: np.ndarray) -> array:  # type: ignore[type-arg]
    column = array(typecode)
    column.frombytes(np.ascontiguousarray(values).view(np.uint8).data if values.size else b"")
    return column


def _execution_key(points: list[Point]) -> Callable[[Point], tuple[int, int, int]]:
    """Sort key: points in the order they ran, each that never ran behind its registered neighbour."""
    keys: dict[int, tuple[int, int, int]] = {}
    before = -1
    for point in points:
        if point.order is not None:
            before = point.order
        keys[point.index] = (before, 0 if point.order is not None else 1, point.index)
    return lambda point: keys[point.index]


def layer_info(point: Point) -> LayerInfo:
    """How a point is introduced to viewers."""
    hidden = None
    if point.order is None:
        hidden = "its forward has not been called as a module"
        if "_compiled_call_impl" in point.module.__dict__ and point.module._compiled_call_impl is not None:
            hidden = "it runs inside compiled code"
    elif point.slot < 0:
        hidden = "its output is no tensor that a kernel here reads"
    return LayerInfo(point.name, type(point.module).__name__, hidden, activity_of(point.module), point.channels)
