"""What is remembered of a run: bounded, thinned where it is old, and what the rules look through."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar, cast

import numpy as np

from tuimon.records.criterion import Evaluation
from tuimon.records.hello import Hello
from tuimon.records.histogram import Histogram
from tuimon.records.layout import Layout, TensorKind
from tuimon.records.sample import Log, Sample
from tuimon.rules.series import Floats, Integers, LayerSeries, Series, TensorSeries
from tuimon.session.clipping import Clipping
from tuimon.session.combine import Grouping, grouping, layer_values
from tuimon.session.histograms import Histograms
from tuimon.session.layers import LayerTable
from tuimon.session.recent import Recent
from tuimon.session.scalars import PROBES, evaluation_scalars, sample_scalars
from tuimon.session.scattered import Scattered
from tuimon.session.table import columns
from tuimon.session.timeline import Timeline

T = TypeVar("T")

#: Samples after which older ones are thinned.
CAPACITY = 10_000
#: Where the memory goes, bytes. Textual alone holds 34 to 44 MB and the whole viewer stays under 80.
LAYER_BYTES = 16 << 20
RECENT_BYTES = 8 << 20
HISTOGRAM_BYTES = 4 << 20
#: Samples after which a tensor series that stopped coming counts as not measured.
_FRESH = 8
#: Tensor series that a rule may need: the metric, and the kind of tensor it is of.
TENSOR_SERIES: Mapping[str, tuple[str, TensorKind]] = {
    "gradient_rms": ("rms", TensorKind.GRADIENT),
    "weight_rms": ("rms", TensorKind.WEIGHT),
    "activation_rms": ("rms", TensorKind.ACTIVATION),
    "output_gradient_rms": ("rms", TensorKind.OUTPUT_GRADIENT),
    "update_ratio": ("update_ratio", TensorKind.WEIGHT),
    "dead_ratio": ("dead_ratio", TensorKind.ACTIVATION),
    "saturated_ratio": ("saturated_ratio", TensorKind.ACTIVATION),
    "zero_ratio": ("zero_ratio", TensorKind.GRADIENT),
}


class History:
    """One run's samples. Satisfies `tuimon.rules.view.View`. Not thread-safe."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._timeline = Timeline(capacity)
        self._layers = LayerTable((), capacity, LAYER_BYTES)
        self._layout: Layout | None = None
        self._groups: Grouping | None = None
        self._recent: Recent | None = None
        self._histograms = Histograms(HISTOGRAM_BYTES)
        self._logs, self._evaluations = Scattered(), Scattered()
        self._memo: dict[object, object] = {}
        self._sample: Sample | None = None
        self._clipping = Clipping()
        self.hello: Hello | None = None
        #: The newest validation pass; None before the first.
        self.evaluation: Evaluation | None = None

    def __len__(self) -> int:
        return len(self._timeline)

    @property
    def nbytes(self) -> int:
        """Bytes that all arrays hold when full."""
        recent = 0 if self._recent is None else self._recent.nbytes
        return self._timeline.nbytes + self._layers.nbytes + recent + self._histograms.nbytes

    @property
    def layout(self) -> Layout | None:
        """The newest layout; None before the first."""
        return self._layout

    @property
    def sample(self) -> Sample:
        """The newest sample.

        Raises:
            ValueError: there is none yet.
        """
        if self._sample is None:
            raise ValueError("no step has been observed yet")
        return self._sample

    @property
    def clip_ratio(self) -> float | None:
        """Share of the newest observed steps in which clipping shortened the gradient; None as yet."""
        return self._clipping.ratio

    @property
    def steps(self) -> Integers:
        """int64[t]: optimizer steps that are kept, ascending."""
        return self._timeline.steps

    @property
    def times(self) -> Floats:
        """float64[t]: Unix time of each, seconds."""
        return self._timeline.times

    @property
    def scalar_names(self) -> tuple[str, ...]:
        """Scalars that `scalar` has something for: the samples' own, logged ones, those of evaluations."""
        return tuple(dict.fromkeys((*self._timeline.names, *self._logs.names, *self._evaluations.names)))

    @property
    def logged_names(self) -> tuple[str, ...]:
        """Scalars that the training logged itself."""
        return self._logs.names

    @property
    def layer_names(self) -> tuple[str, ...]:
        """Rows of every `LayerSeries`, in execution order."""
        return self._layers.names

    def add_layout(self, layout: Layout) -> None:
        """Take another layout: layers keep their past by name, the rules' window starts anew."""
        self._layout = layout
        self._groups = grouping(layout)
        self._recent = Recent(layout, RECENT_BYTES)
        self._memo.clear()
        names = tuple(layer.name for layer in layout.layers)
        if names != self._layers.names:
            self._layers = self._layers.renamed(names, self._capacity, LAYER_BYTES)

    def add_sample(self, sample: Sample) -> None:
        """Take one observed step. Tensors of a layout that is not the current one are left out."""
        self._sample = sample
        self._clipping.add(sample)
        scalars = {**sample_scalars(sample), "clip_ratio": self._clipping.ratio}
        self._timeline.append(sample.step, sample.time_s, scalars)
        if self._layout is None or self._groups is None or self._recent is None:
            return
        if sample.layout != self._layout.id:
            return
        table = columns(sample.tensors)
        self._recent.append(sample.step, table)
        self._layers.append(sample.step, *layer_values(table, self._groups))
        self._histograms.append(sample)

    def add_log(self, log: Log) -> None:
        """Take scalars that the training reported."""
        self._logs.add(log.step, log.values)

    def add_evaluation(self, evaluation: Evaluation) -> None:
        """Take a validation pass that was seen."""
        self.evaluation = evaluation
        self._evaluations.add(evaluation.step, evaluation_scalars(evaluation))

    def scalar(self, name: str, last: int | None = None) -> Series:
        """A scalar of the samples or, by the name it was logged under, of the training's own.

        Samples': "loss", "loss/NAME" for several optimizers, "grad_norm", "grad_norm_preclip", "lr"
        (first group), "lr/I", "step_s", "data_s", "forward_s", "backward_s", "optimizer_s",
        "overhead_ratio", "overhead_s", "every", "microbatches", "dead_window", "rss_bytes",
        "cuda_bytes", "loss_scale", "skipped" (0 or 1), "clip_ratio" (of the newest steps so far),
        "train_accuracy", "criterion/NAME" (value of a loss term). Evaluations': "val_loss", "val_accuracy",
        "val_loss/NAME" where there are several.
        """
        if name in self._timeline.names:
            return self._timeline.series(name, last)
        # What the training says itself goes before what was seen of it.
        return (self._logs if name in self._logs else self._evaluations).series(name, last)

    def layer_series(self, metric: str, last: int | None = None) -> LayerSeries:
        """One metric of every layer (see `LAYER_METRICS`) over the newest `last` samples.

        Raises:
            KeyError: no such metric.
        """
        return self._layers.series(metric, last)

    def tensors(self, metric: str, rows: Integers, last: int | None = None) -> TensorSeries:
        """One metric of some tensors over the newest `last` samples of the rules' window.

        Raises:
            KeyError: no such metric.
        """
        recent = self._recent or Recent(Layout(0, (), ()), 0)
        return recent.series(metric, rows, last)

    def extremes(self, rows: Integers) -> tuple[Integers, Floats, Floats]:
        """Step, min and max of the last sample in which each row was all finite; step -1 if none."""
        recent = self._recent or Recent(Layout(0, (), ()), 0)
        return recent.extremes(rows)

    def histograms(self, tensor_row: int, last: int = 64) -> list[tuple[int, Histogram]]:
        """(step, histogram) of one row of the current layout, oldest first; fewer when tensors are many."""
        return [] if self._layout is None else self._histograms.of(tensor_row, self._layout.id, last)

    def rows_of(self, *kinds: TensorKind) -> Integers:
        """Indices of the tensors of these kinds in the current layout, ascending."""
        if self._layout is None:
            return np.zeros(0, np.int64)
        tables = self.per_layout(_rows_by_kind)
        return np.sort(np.concatenate([tables[kind] for kind in kinds]))

    def per_layout(self, build: Callable[[Layout], T]) -> T:
        """`build(layout)`, computed once for each layout.

        Raises:
            ValueError: there is no layout yet.
        """
        if self._layout is None:
            raise ValueError("the training has not named its layers yet")
        if build not in self._memo:
            self._memo[build] = build(self._layout)
        return cast("T", self._memo[build])

    def missing(self, series: str) -> str | None:
        """Why a scalar or a metric (a layer's or a tensor's) has nothing to judge; None when it has."""
        if series in TENSOR_SERIES:
            seen = self._tensor_seen(*TENSOR_SERIES[series])
        else:
            seen = bool(len(self.scalar(series).present))
        if seen:
            return None
        probes: Mapping[str, str] = {} if self.hello is None else self.hello.probes
        why = probes.get(PROBES.get(series, series), "on")
        return f"{series} not measured yet" if why == "on" else f"{series} not seen: {why}"

    def _tensor_seen(self, metric: str, kind: TensorKind) -> bool:
        if self._recent is None or not len(self._recent):
            return False
        return bool(self._recent.series(metric, self.rows_of(kind), _FRESH).measured.any())


def _rows_by_kind(layout: Layout) -> dict[TensorKind, Integers]:
    return {
        kind: np.array([i for i, t in enumerate(layout.tensors) if t.kind is kind], np.int64).reshape(-1)
        for kind in TensorKind
    }
