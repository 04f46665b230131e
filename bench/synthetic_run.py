"""A run that nobody trained: a transformer's layers with numbers that look real, the same each time.

For the screen's tests and benches, which need many samples at once and the same ones again.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuimon.records.hello import Hello
from tuimon.records.layout import LayerInfo, Layout, TensorInfo, TensorKind
from tuimon.records.sample import Sample, StepTimes
from tuimon.records.tensors import DEAD_RATIO, UPDATE_RATIO, TensorTable

START_S = 1_700_000_000.0
#: Exponents of the template's bins, relative to that of the standard deviation.
_FIRST, _LAST = -12, 3
#: Widths within a factor of two that are told apart.
_TEMPLATES = 32
_PARTS = (
    ("norm1", "LayerNorm"), ("attn.qkv", "Linear"), ("attn.out", "Linear"), ("norm2", "LayerNorm"),
    ("mlp.up", "Linear"), ("mlp.act", "ReLU"), ("mlp.down", "Linear"),
)  # fmt: skip


@dataclass(eq=False)
class SyntheticRun:
    """`blocks` transformer blocks of `width`; one of them may fall silent."""

    blocks: int = 8
    width: int = 384
    every: int = 4
    #: Block whose MLP loses most of its units, and the step at which that begins.
    dying: int | None = None
    dies_at: int = 0
    seed: int = 7
    layout: Layout = field(init=False)

    def __post_init__(self) -> None:
        self.layout = _layout(self.blocks, self.width)
        generator = np.random.default_rng(self.seed)
        self._character = generator.normal(0.0, 0.12, len(self.layout.tensors))

    @property
    def hello(self) -> Hello:
        """Who trains."""
        return Hello(
            pid=4711, name="train.py", host="gpubox", user="ada", command=("python", "train.py"),
            started_s=START_S, parameters=sum(_elements(t) for t in self.layout.tensors
                                              if t.kind is TensorKind.WEIGHT),
            trainable_parameters=0, devices=("cuda:0",), dtypes=("bfloat16", "float32"), python="3.12.4",
            torch="2.13.0", tuimon="0.1.0", probes={"activations": "on", "clip": "on"}, budget_ratio=0.01,
            optimizers=("AdamW",),
        )  # fmt: skip

    def samples(self, count: int, start: int = 1) -> Iterator[Sample]:
        """Samples number `start` and the `count - 1` after it."""
        for index in range(start, start + count):
            yield self.sample(index)

    def sample(self, index: int, **changes: Any) -> Sample:
        """Sample number `index`, counted from 1; `changes` replace fields."""
        step = 1 + (index - 1) * self.every
        generator = np.random.default_rng((self.seed, index))
        progress = step / 12_000
        noise = float(generator.normal(0.0, 0.045))
        norm = 0.9 * math.exp(-3 * progress) + 0.35 + abs(float(generator.normal(0.0, 0.08)))
        if index % 97 == 41:
            norm *= 4.0
        fields: dict[str, Any] = {
            "index": index, "step": step, "time_s": START_S + step * 0.042, "layout": self.layout.id,
            "loss": 1.55 + 4.0 * math.exp(-14 * progress) + 1.2 * math.exp(-2 * progress) + noise,
            "lr": (3e-4 * min(1.0, step / 400) * (0.55 + 0.45 * math.cos(min(math.pi, 3 * progress))),),
            "grad_norm": min(norm, 1.0), "grad_norm_preclip": norm, "microbatches": 1,
            "step_s": 0.042 + abs(noise) / 20, "every": self.every, "dead_window": min(index, 128),
            "times": StepTimes(0.0009, 0.013, 0.0221, 0.0054), "overhead_ratio": 0.0061,
            "overhead_s": 0.0011, "rss_bytes": 3_412_000_000, "cuda_bytes": 18_240_000_000,
            "tensors": self._table(step, progress, generator),
        }  # fmt: skip
        return Sample(**{**fields, **changes})

    def _table(self, step: int, progress: float, generator: np.random.Generator) -> TensorTable:
        tensors = self.layout.tensors
        k = len(tensors)
        rms = np.array([self._rms(t, step, progress) for t in tensors])
        rms *= np.exp(self._character + generator.normal(0.0, 0.08, k))
        n = np.array([_elements(t) for t in tensors], np.int64)
        acts = np.array([t.name.endswith("mlp.act") for t in tensors])
        weights = np.array([t.kind is TensorKind.WEIGHT for t in tensors])
        dead = np.array([self._dead(t, step) for t in tensors])
        zero = np.where(acts, (n * (0.5 + 0.5 * np.nan_to_num(dead))).astype(np.int64), 0)
        counts = np.zeros((k, 6), np.int64)
        counts[:, 0], counts[:, 4] = n, zero
        moments = np.stack([np.zeros(k), rms * rms * n, np.where(acts, 0, -4 * rms), 4 * rms], axis=1)
        update = 1.1e-3 * np.exp(-2 * progress) * np.exp(generator.normal(0.0, 0.15, k))
        ratios = np.stack([np.where(weights, update, 0.0), np.nan_to_num(dead), np.zeros(k)], axis=1)
        measured = np.where(weights, UPDATE_RATIO, 0) | np.where(np.isnan(dead), 0, DEAD_RATIO)
        negative, positive, first = _bins(rms, n - zero, acts)
        bins = np.concatenate([negative, positive], axis=1)
        return TensorTable(
            array("i", range(k)), _array("q", counts), _array("d", moments), _array("d", ratios),
            _array("B", measured.astype(np.uint8)), _array("q", n), _array("q", zero),
            _array("h", first.astype(np.int16)), array("h", [negative.shape[1]] * k),
            _array("I", bins.astype(np.uint32)),
        )  # fmt: skip

    def _rms(self, tensor: TensorInfo, step: int, progress: float) -> float:
        depth = 0 if tensor.layer is None else tensor.layer / len(self.layout.layers)
        fading = self._fading(tensor, step)
        if tensor.kind is TensorKind.WEIGHT:
            return 0.02 * (1 + 0.4 * progress)
        if tensor.kind is TensorKind.ACTIVATION:
            return (0.4 + 1.6 * depth) * (1 - 0.7 * (1 - fading))
        scale = 2.5e-3 if tensor.kind is TensorKind.GRADIENT else 1.2e-5
        return float(scale * math.exp(-1.2 * progress) * 10.0 ** (0.9 * (depth - 0.5)) * max(2e-3, fading))

    def _fading(self, tensor: TensorInfo, step: int) -> float:
        """How much of its signal a tensor still has, in [0, 1]."""
        if self.dying is None or f"blocks.{self.dying}.mlp" not in tensor.name or step < self.dies_at:
            return 1.0
        return math.exp(-(step - self.dies_at) / (30.0 * self.every))

    def _dead(self, tensor: TensorInfo, step: int) -> float:
        if tensor.kind is not TensorKind.ACTIVATION or not tensor.name.endswith("mlp.act"):
            return math.nan
        return 0.01 + 0.61 * (1.0 - self._fading(tensor, step))


def _layout(blocks: int, width: int) -> Layout:
    layers = [LayerInfo("embed.token", "Embedding"), LayerInfo("embed.position", "Embedding")]
    for block in range(blocks):
        for name, type_name in _PARTS:
            relu = type_name == "ReLU"
            channels = 4 * width if relu else None
            layers.append(
                LayerInfo(f"blocks.{block}.{name}", type_name, None, "positive" if relu else None, channels)
            )
    layers += [LayerInfo("norm", "LayerNorm"), LayerInfo("head", "Linear")]
    tensors: list[TensorInfo] = []
    for i, layer in enumerate(layers):
        tensors += (
            TensorInfo(layer.name, kind, i, "bfloat16", (32, 256, width))
            for kind in (TensorKind.ACTIVATION, TensorKind.OUTPUT_GRADIENT)
        )
        tensors += (
            TensorInfo(f"{layer.name}.{name}", kind, i, "float32", shape, True)
            for name, shape in _parameters(layer, width)
            for kind in (TensorKind.GRADIENT, TensorKind.WEIGHT)
        )
    return Layout(1, tuple(layers), tuple(tensors))


def _parameters(layer: LayerInfo, width: int) -> list[tuple[str, tuple[int, ...]]]:
    if layer.type == "ReLU":
        return []
    if layer.type == "Embedding":
        return [("weight", (8192, width))]
    if layer.type == "LayerNorm":
        return [("weight", (width,)), ("bias", (width,))]
    wide = 4 * width if layer.name.endswith(("up", "down")) else 3 * width
    return [("weight", (wide, width)), ("bias", (wide,))]


def _elements(tensor: TensorInfo) -> int:
    return math.prod(tensor.shape or ())


def _bins(
    rms: NDArray[np.float64], n: NDArray[np.int64], positive_only: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Counts of a normal distribution of that width by sign and exponent, and the first exponent."""
    log = np.log2(rms)
    first = np.floor(log).astype(np.int64) + _FIRST
    template = np.floor((log - np.floor(log)) * _TEMPLATES).astype(np.int64)
    counts = np.floor(_shares()[template] * n[:, None]).astype(np.int64)
    return np.where(positive_only[:, None], 0, counts), counts, first


@cache
def _shares() -> NDArray[np.float64]:
    """[templates, bins] shares of one sign, for widths within a factor of two."""
    offsets = np.arange(_TEMPLATES) / _TEMPLATES
    edges = 2.0 ** (np.arange(_FIRST, _LAST + 2) - offsets[:, None])
    below = np.array([[math.erf(edge / math.sqrt(2.0)) for edge in row] for row in edges.tolist()])
    share: NDArray[np.float64] = np.diff(below, axis=1) / 2
    return share


def _array(code: str, values: NDArray[Any]) -> array[Any]:
    column: array[Any] = array(code)
    column.frombytes(np.ascontiguousarray(values, np.dtype(code)).tobytes())
    return column
