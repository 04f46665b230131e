"""The names behind a sample's rows: sent once, referred to by every sample that follows."""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace


class TensorKind(enum.Enum):
    """What a row of a sample describes. The values are a contract of the JSON lines."""

    #: A parameter's gradient as the optimizer applied it.
    GRADIENT = "gradient"
    #: A parameter after the step.
    WEIGHT = "weight"
    #: A layer's output in the forward pass.
    ACTIVATION = "activation"
    #: The gradient of the loss that arrives at that output.
    OUTPUT_GRADIENT = "output_gradient"
    #: What the model was called with.
    INPUT = "input"


@dataclass(frozen=True, slots=True)
class LayerInfo:
    """One module of the model that has parameters of its own or no children."""

    #: As `named_modules()` gives it; prefixed with the root's name when several roots are watched.
    name: str
    #: Class name, such as "Linear".
    type: str
    #: Why its activations are not seen; None when they are.
    hidden: str | None = None
    #: How its units count as active: "positive" (ReLU and what may precede one), "nonzero", or None.
    activity: str | None = None
    #: Number of channels (units) that activity is tracked for; None when it is not.
    channels: int | None = None
    #: Calls in the step that this was written down in; all of a step are one row. None if not counted.
    calls: int | None = None


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor that samples may carry a row for."""

    #: As `named_parameters()` gives it for gradients and weights, else the layer's name or "input".
    name: str
    kind: TensorKind
    #: Index into `Layout.layers`; None for the model's input.
    layer: int | None
    #: "float32", "bfloat16", ...; None until first seen.
    dtype: str | None = None
    shape: tuple[int, ...] | None = None
    #: Whether the parameter requires a gradient; None for what is no parameter.
    trainable: bool | None = None
    #: Dimensions say how it is initialised and judged: an embedding's gradient is sparse by design.
    sparse_by_design: bool = False
    #: Shape of the whole where this process holds, and its values describe, only a shard of it; else None.
    whole_shape: tuple[int, ...] | None = None

    def of_parameter(self, trainable: bool, *, sparse_by_design: bool) -> TensorInfo:
        """The same tensor, as one that belongs to a parameter."""
        return replace(self, trainable=trainable, sparse_by_design=sparse_by_design)

    def at_layer(self, layer: int) -> TensorInfo:
        """The same tensor, at another index of the layers."""
        return replace(self, layer=layer)


@dataclass(frozen=True, slots=True)
class Layout:
    """Layers in execution order, and the tensors that rows of samples refer to by index."""

    #: Number of this layout within its agent, counted from 1; a sample names the one it was read under.
    id: int
    layers: tuple[LayerInfo, ...]
    tensors: tuple[TensorInfo, ...]
