"""The histograms of some layers' tensors: of each kind together, or of each tensor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tuimon.records.histogram import Histogram
from tuimon.records.layout import Layout, TensorInfo, TensorKind
from tuimon.session.history import History

#: In the order of a step.
_KINDS = (
    (TensorKind.ACTIVATION, "activation"), (TensorKind.OUTPUT_GRADIENT, "gradient at the output"),
    (TensorKind.GRADIENT, "gradient"), (TensorKind.WEIGHT, "weight"),
)  # fmt: skip
_DTYPES = {"float32": "fp32", "float64": "fp64", "float16": "fp16", "bfloat16": "bf16"}


@dataclass(frozen=True, slots=True)
class Tensor:
    """What is known of one tensor, or of all tensors of a kind."""

    title: str
    #: Shape and type; "" where several are together.
    note: str
    #: (step, histogram), oldest first.
    past: tuple[tuple[int, Histogram], ...]


def by_kind(history: History, layers: Sequence[int], last: int) -> list[Tensor]:
    """All tensors of a kind together, at the newest `last` steps; only kinds that the layers have."""
    layout = history.layout
    if layout is None:
        return []
    found = []
    for kind, title in _KINDS:
        rows = _rows(layout, layers, kind)
        if rows:
            note = _note(layout.tensors[rows[0]]) if len(rows) == 1 else f"{len(rows)} together"
            found.append(Tensor(title, note, _merged(history, rows, last)))
    return found


def one_by_one(history: History, layers: Sequence[int], last: int) -> list[Tensor]:
    """Each tensor by itself: activations first, then each parameter's gradient and value."""
    layout = history.layout
    if layout is None:
        return []
    found = []
    for kind, title in _KINDS:
        for row in _rows(layout, layers, kind):
            info = layout.tensors[row]
            own = info.name.rpartition(".")[2]
            parameter = kind in (TensorKind.GRADIENT, TensorKind.WEIGHT)
            name = (f"gradient of {own}" if kind is TensorKind.GRADIENT else own) if parameter else title
            found.append(Tensor(name, _note(info), tuple(history.histograms(row, last))))
    return found


def _rows(layout: Layout, layers: Sequence[int], kind: TensorKind) -> list[int]:
    return [i for i, info in enumerate(layout.tensors) if info.kind is kind and info.layer in layers]


def _merged(history: History, rows: Sequence[int], last: int) -> tuple[tuple[int, Histogram], ...]:
    steps: dict[int, Histogram] = {}
    for row in rows:
        for step, histogram in history.histograms(row, last):
            steps[step] = steps[step].merge(histogram) if step in steps else histogram
    return tuple(sorted(steps.items()))


def _note(info: TensorInfo) -> str:
    shape = "" if info.shape is None else "×".join(map(str, info.shape))
    dtype = "" if info.dtype is None else _DTYPES.get(info.dtype, info.dtype)
    frozen = "frozen" if info.trainable is False else ""
    return " ".join(part for part in (shape, dtype, frozen) if part)
