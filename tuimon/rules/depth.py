"""Which weights stand for the depth of a model, in execution order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tuimon.records.layout import Layout, TensorInfo, TensorKind
from tuimon.rules.series import Integers
from tuimon.rules.view import View

#: Layer types whose parameters scale or look up rather than mix: no part of a depth profile.
_OTHER = ("norm", "embed", "prelu")


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """Trainable matrices and convolution kernels, from the input towards the output."""

    names: tuple[str, ...]
    #: int64[k]: rows of their gradients, and of the weights themselves.
    gradients: Integers
    weights: Integers
    #: int64[k]: rows of the gradients that arrive at their layers' outputs; -1 where there is none.
    outputs: Integers

    def __len__(self) -> int:
        return len(self.names)

    def pick(self, places: Integers) -> Weights:
        """Some of them, in the order given."""
        names = tuple(self.names[i] for i in places)
        return Weights(names, self.gradients[places], self.weights[places], self.outputs[places])


def deep_weights(layout: Layout) -> Weights:
    """All of a layout. Biases, norms, embeddings and frozen parameters have gradients of other sizes."""
    outputs = {t.layer: row for row, t in enumerate(layout.tensors) if t.kind is TensorKind.OUTPUT_GRADIENT}
    gradients = {t.name: row for row, t in enumerate(layout.tensors) if t.kind is TensorKind.GRADIENT}
    found = [
        (t.layer or 0, row, t.name)
        for row, t in enumerate(layout.tensors)
        if t.kind is TensorKind.WEIGHT and t.name in gradients and _mixes(layout, t)
    ]
    found.sort()
    return Weights(
        tuple(name for _, _, name in found),
        np.array([gradients[name] for _, _, name in found], np.int64).reshape(-1),
        np.array([row for _, row, _ in found], np.int64).reshape(-1),
        np.array([outputs.get(layer, -1) for layer, _, _ in found], np.int64).reshape(-1),
    )


def depth_chains(layout: Layout) -> list[Weights]:
    """The same, one chain for each top-level part: for models that are trained by turns (a GAN)."""
    whole = deep_weights(layout)
    parts: dict[str, list[int]] = {}
    for place, name in enumerate(whole.names):
        parts.setdefault(name.partition(".")[0], []).append(place)
    return [whole.pick(np.array(places, np.int64)) for places in parts.values()]


def chains(view: View) -> list[Weights]:
    """The chains of layers along which one loss's gradient flows.

    Several optimizers mean that parts are trained by losses of their own, so depth ends at each part.
    """
    if by_turns(view):
        return view.per_layout(depth_chains)
    return [view.per_layout(deep_weights)]


def by_turns(view: View) -> bool:
    """Whether several losses seem to pull at the model: there is no one loss curve and no one depth.

    Two optimizers of unlike kinds (Muon for matrices, AdamW for the rest) share a loss as a rule.
    """
    optimizers = () if view.hello is None else view.hello.optimizers
    alike = len(set(optimizers)) < len(optimizers)
    return alike or len(view.sample.losses) > 1


def _mixes(layout: Layout, tensor: TensorInfo) -> bool:
    if tensor.trainable is False or tensor.sparse_by_design or tensor.layer is None:
        return False
    if tensor.shape is None:
        return tensor.name.endswith("weight")
    if any(part in layout.layers[tensor.layer].type.lower() for part in _OTHER):
        return False
    return len(tensor.shape) >= 2
