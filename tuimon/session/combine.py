"""From tensors to layers: the sketches of a layer's parameters merge (sums and counts add up)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tuimon.records.layout import Layout, TensorKind
from tuimon.records.tensors import DEAD_RATIO, SATURATED_RATIO, UPDATE_RATIO
from tuimon.rules.series import Flags, Floats, Integers, Singles
from tuimon.session.table import Columns

#: What is kept of every layer. The names are those of `History.layer_series`.
LAYER_METRICS = (
    "gradient_rms", "weight_rms", "activation_rms", "output_gradient_rms",
    "update_ratio", "dead_ratio", "saturated_ratio", "zero_ratio", "nonfinite",
)  # fmt: skip

#: Kinds whose root mean square is kept, in the order of the first metrics above.
_KINDS = (TensorKind.GRADIENT, TensorKind.WEIGHT, TensorKind.ACTIVATION, TensorKind.OUTPUT_GRADIENT)
_GRADIENT, _WEIGHT, _ACTIVATION = 0, 1, 2

#: Sums a column over the rows of each group: float64[kinds, layers].
_Total = Callable[[Floats | Integers], Floats]


@dataclass(frozen=True, slots=True, eq=False)
class Grouping:
    """Where each tensor of a layout belongs: ``group = kind * layers + layer``, -1 for none."""

    layers: int
    #: int64[T]
    group: Integers


def grouping(layout: Layout) -> Grouping:
    """The groups of a layout's tensors."""
    kinds = {kind: i for i, kind in enumerate(_KINDS)}
    width = len(layout.layers)
    group = [
        -1 if t.layer is None or t.kind not in kinds else kinds[t.kind] * width + t.layer
        for t in layout.tensors
    ]
    return Grouping(width, np.array(group, np.int64).reshape(-1))


def layer_values(columns: Columns, groups: Grouping) -> tuple[Singles, Flags]:
    """float32[metrics, layers] of one sample, and whether each was measured."""
    width = groups.layers
    group = groups.group[columns.rows]
    belongs = group >= 0
    group = group[belongs]

    def total(weights: Floats | Integers) -> Floats:
        summed = np.zeros(len(_KINDS) * width)
        summed += np.bincount(group, weights=weights[belongs], minlength=len(summed))
        return summed.reshape(len(_KINDS), width)

    n = total(columns.n)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        rms = np.sqrt(total(columns.sum_sq) / n)
        update, updated = _update(columns, total)
        dead, died = _mean(columns, 1, DEAD_RATIO, total, _ACTIVATION)
        saturated, bounded = _mean(columns, 2, SATURATED_RATIO, total, _ACTIVATION)
        zero = total(columns.counts[:, 4])[_GRADIENT] / n[_GRADIENT]
        bad = total(columns.nonfinite).sum(axis=0)
        values = np.vstack([rms, update, dead, saturated, zero, bad]).astype(np.float32)
    seen = n > 0
    flags = np.vstack([seen, updated, died, bounded, seen[_GRADIENT], seen.any(axis=0)])
    return values, flags


def _update(columns: Columns, total: _Total) -> tuple[Floats, Flags]:
    """||dw|| / ||w|| of all parameters of a layer, from those of each."""
    known = (columns.measured & UPDATE_RATIO) > 0
    norm_sq = np.where(known, columns.sum_sq, 0.0)
    ratio = np.where(known, columns.ratios[:, 0], 0.0)
    # A parameter of zeros has no share in ||w||, whatever its own ratio: 0 * inf must not spoil the layer.
    moved = np.where(norm_sq > 0, ratio * ratio * norm_sq, 0.0)
    moved = np.where(np.isnan(norm_sq) | np.isnan(ratio), np.nan, moved)
    norm = total(norm_sq)[_WEIGHT]
    value = np.where(norm == 0, 0.0, np.sqrt(total(moved)[_WEIGHT] / norm))
    return value, total(known.astype(np.float64))[_WEIGHT] > 0


def _mean(columns: Columns, column: int, bit: int, total: _Total, kind: int) -> tuple[Floats, Flags]:
    known = (columns.measured & bit) > 0
    count = total(known.astype(np.float64))[kind]
    return total(np.where(known, columns.ratios[:, column], 0.0))[kind] / count, count > 0
