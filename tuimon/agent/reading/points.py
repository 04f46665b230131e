"""Where activations are read, and how a module's output is to be judged there."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    import torch

#: Outputs in [0, inf) that are 0 for a silent unit.
RECTIFIERS: tuple[type[nn.Module], ...] = (nn.ReLU, nn.ReLU6, nn.Threshold)
#: What commonly stands before a functional ReLU: silent when never positive and never given a gradient.
BEFORE_RECTIFIER: tuple[type[nn.Module], ...] = (
    nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d,
    nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d,
)  # fmt: skip
#: Modules whose channels stand at axis 1 (behind the batch), rather than last.
CHANNELS_SECOND: tuple[type[nn.Module], ...] = (
    nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d,
    nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d,
    nn.GroupNorm,
)  # fmt: skip

# An element is at its limit where the derivative is below 5 % of the activation's steepest one:
# tanh' = 1 - y^2, sigmoid' = y (1 - y), whose steepest is 1/4, and softsign' = (1 - |y|)^2. The hard
# variants end exactly.
_TANH = math.sqrt(1 - 0.05)
_SIGMOID = (1 + math.sqrt(1 - 0.05)) / 2
_SOFTSIGN = 1 - math.sqrt(0.05)
LIMITS: dict[type[nn.Module], tuple[float, float]] = {
    nn.Tanh: (-_TANH, _TANH),
    nn.Sigmoid: (1 - _SIGMOID, _SIGMOID),
    nn.Softsign: (-_SOFTSIGN, _SOFTSIGN),
    nn.Hardsigmoid: (0.0, 1.0),
    # Of the probabilities of a softmax only one per row can be near 1, and most are near 0 by design.
    nn.Softmax: (-math.inf, _SIGMOID),
}


def limits_of(module: nn.Module) -> tuple[float, float] | None:
    """The outputs at and beyond which a bounded activation hardly passes a gradient; None if unbounded."""
    if isinstance(module, nn.ReLU6):
        return (-math.inf, 6.0)
    if isinstance(module, nn.Hardtanh):
        return (float(module.min_val), float(module.max_val))
    return LIMITS.get(type(module))


def activity_of(module: nn.Module) -> str | None:
    """How this module's units count as active, as in `LayerInfo.activity`; None where they do not."""
    return "positive" if isinstance(module, RECTIFIERS + BEFORE_RECTIFIER) else None


@dataclass(slots=True, eq=False)
class Point:
    """One module whose output, and the gradient arriving there, are read."""

    name: str
    module: nn.Module
    #: Index in the inventory; the layout orders by `order` instead.
    index: int
    #: Position in execution order, from the first observed step; None until it was called.
    order: int | None = None
    #: The position that it has if backward runs it again with gradients (reentrant checkpointing).
    expected_order: int | None = None
    channels: int | None = None
    #: It runs inside compiled code, where hooks are not called, or cost a new compilation.
    compiled: bool = False
    #: Rows of the output and of its gradient, -1 where it has none; and what they were made for.
    slot: int = -1
    gradient_slot: int = -1
    shape: torch.Size | None = None
    dtype: torch.dtype | None = None
    #: Its output is overwritten in place by what follows, so it cannot wait to be read.
    overwritten: bool = False
    #: It does not wait in any case, being large or overwritten.
    at_once: bool = False
    #: Whether nothing but a first call with an output as before is to be expected.
    usual: bool = False
    #: Calls in the current window, and those without gradients that backward has not run again.
    calls: int = 0
    passed_by: int = 0

    def unsettle(self) -> None:
        """Forget the rows, after the table was made anew."""
        self.slot = self.gradient_slot = -1
        self.shape = self.dtype = None
        self.usual = False

    @property
    def rectifier(self) -> bool:
        """Whether the module itself is the ReLU."""
        return isinstance(self.module, RECTIFIERS)

    def channel_axis(self, dimensions: int) -> int | None:
        """The axis of this module's units in an output of so many axes; None where units are not tracked."""
        if activity_of(self.module) is None or dimensions < 2:
            return None
        if isinstance(self.module, CHANNELS_SECOND):
            return 1
        # A ReLU does not say what stood before it: images have their channels behind the batch.
        return 1 if dimensions >= 4 else dimensions - 1
