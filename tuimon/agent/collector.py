"""From filled rows to what travels: the layout that names them, and a sample's table."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from tuimon.agent.inventory import Inventory
from tuimon.agent.points import Point, activity_of
from tuimon.agent.rows import RowTable
from tuimon.records.layout import LayerInfo, Layout, TensorKind
from tuimon.records.tensors import DEAD_RATIO, SATURATED_RATIO, UPDATE_RATIO, TensorTable, empty_table

if TYPE_CHECKING:
    import numpy.typing as npt

    from tuimon_kernels import Packed

    Floats = npt.NDArray[np.float64]
    Ints = npt.NDArray[np.int64]


class Collector:
    """Reads the rows out at the end of a step."""

    def __init__(self, inventory: Inventory, rows: RowTable, layouts: int = 0) -> None:
        self._inventory, self._rows = inventory, rows
        self._described: tuple[int, tuple[int | None, ...]] | None = None
        #: Layouts described so far: the id of the last one.
        self.layouts = layouts
        #: By slot: factor of the count at the limits (NaN without limits), and whether it is a gradient.
        self._saturation: Floats = np.zeros(0)
        self._gradients = np.zeros(0, dtype=bool)

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
        layout = Layout(self.layouts, tuple(layer_info(point) for point in ordered), tensors)
        self._saturation = np.array([self._saturation_factor(row) for row in range(len(tensors))])
        self._gradients = np.array([info.kind is TensorKind.GRADIENT for info in tensors])
        return layout

    def _saturation_factor(self, row: int) -> float:
        """What a row's count at its limits is multiplied with, over its elements; NaN without limits."""
        slot, info = self._rows.slots[row], self._rows.infos[row]
        if slot.limits is None:
            return math.nan
        # Of a softmax's row of classes only one can be at its limit, so rows are counted, not elements.
        softmax = slot.limits[0] == -math.inf and slot.limits[1] < 1.0
        return float(info.shape[-1]) if softmax and info.shape else 1.0

    def table(self, rows: Ints, parts: list[Packed], updates: Floats) -> TensorTable:
        """The sample's rows; `updates` [slots] holds update ratios, and -inf where none was measured."""
        k = len(rows)
        if not k:
            return empty_table()
        counts, moments = _joined(parts, "counts"), _joined(parts, "moments")
        ratios, measured = np.zeros((k, 3)), np.zeros(k, dtype=np.uint8)
        moved = updates[rows]
        _put(ratios, measured, 0, UPDATE_RATIO, moved != -np.inf, moved)
        dead, judged = self._rows.dead_ratios(), np.full(len(self._rows.slots), np.nan)
        judged[: len(dead)] = dead
        _put(ratios, measured, 1, DEAD_RATIO, ~np.isnan(judged[rows]), judged[rows])
        factor = self._saturation[rows]
        share = counts[:, 5] * factor / np.maximum(counts[:, 0], 1)
        _put(ratios, measured, 2, SATURATED_RATIO, ~np.isnan(factor) & (counts[:, 0] > 0), share)
        bins = _joined(parts, "hist_counts")
        return TensorTable(
            rows=_array("i", rows.astype(np.int32)),
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

    def gradient_norm(self, rows: Ints, parts: list[Packed]) -> float | None:
        """Norm of all gradients among the rows; None without any, NaN and Inf as in a norm."""
        mine = self._gradients[rows] if len(rows) else np.zeros(0, dtype=bool)
        if not mine.any():
            return None
        counts, moments = _joined(parts, "counts")[mine], _joined(parts, "moments")[mine]
        if counts[:, 1].any():
            return math.nan
        return math.inf if counts[:, 2:4].any() else math.sqrt(float(moments[:, 1].sum()))


def _put(
    ratios: Floats, measured: npt.NDArray[np.uint8], column: int, bit: int, where: Any, values: Any
) -> None:
    """Set one column where it was measured, and the bit that says so."""
    ratios[where, column] = values[where]
    measured[where] |= bit


def _joined(parts: list[Packed], column: str) -> npt.NDArray[Any]:
    columns: list[npt.NDArray[Any]] = [getattr(part, column) for part in parts]
    return columns[0] if len(columns) == 1 else np.concatenate(columns)


def _array(typecode: str, values: npt.NDArray[Any]) -> array[Any]:
    column: array[Any] = array(typecode)
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
        if point.compiled:
            hidden = "it runs inside compiled code"
    elif point.slot < 0:
        hidden = "its output is no tensor that a kernel here reads"
    kind = type(point.module).__name__
    return LayerInfo(
        point.name, kind, hidden, activity_of(point.module), point.channels, point.calls or None
    )
