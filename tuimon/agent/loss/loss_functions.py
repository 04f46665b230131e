"""The loss functions of torch, where they can be observed, and how their arguments are to be read.

`torch.nn.functional` ends in functions of C that it looks up as attributes at each call. Those are wrapped,
not the functions of `torch.nn.functional` themselves: compiled code has guards on these, so that wrapping
them compiles everything anew, and a name imported before (`from torch.nn.functional import cross_entropy`)
would not be seen.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping

#: What the C functions call the reductions.
REDUCTIONS = ("none", "mean", "sum")


class Reads(enum.Enum):
    """What a function compares."""

    #: [N, C, ...] scores with class numbers [N, ...], or with probabilities of the same shape.
    CLASSES = enum.auto()
    #: Scores of one class against the other, element by element; targets in [0, 1].
    BINARY = enum.auto()
    #: Anything, element by element.
    ELEMENTS = enum.auto()
    #: Anything, row by row.
    ROWS = enum.auto()


@dataclass(frozen=True, slots=True)
class LossFunction:
    """One function; positions are those of its arguments, None where it has no such argument."""

    #: As in `torch.nn.functional`.
    name: str
    #: The module and the attribute that are looked up at each call.
    owner: str
    attribute: str
    reads: Reads
    reduction: int
    weight: int | None = None
    ignore_index: int | None = None
    #: Scores above it mean class 1, for `Reads.BINARY`.
    threshold: float = 0.0
    #: Axis of the rows, for `Reads.ROWS`.
    axis: int = 0
    #: A sum is shown per row of the batch: what "batchmean" returns is divided only outside of the function.
    per_row: bool = False

    @property
    def module(self) -> Any:
        """The module that holds it."""
        return torch if self.owner == "torch" else torch._C._nn

    def elements(self, shape: torch.Size, reduction: str) -> int:
        """Elements that a loss over an input of this shape is taken over, ignored ones among them."""
        if self.reads is Reads.CLASSES:
            return shape.numel() // max(shape[1 if len(shape) > 1 else 0], 1) if shape else 1
        if self.reads is Reads.ROWS or (self.per_row and reduction == "sum"):
            return shape[self.axis] if len(shape) > self.axis else 1
        return shape.numel()


_NN, _TORCH = "torch._C._nn", "torch"

LOSS_FUNCTIONS = (
    LossFunction("cross_entropy", _NN, "cross_entropy_loss", Reads.CLASSES, 3, weight=2, ignore_index=4),
    LossFunction("nll_loss", _NN, "nll_loss_nd", Reads.CLASSES, 3, weight=2, ignore_index=4),
    LossFunction("multi_margin_loss", _NN, "multi_margin_loss", Reads.CLASSES, 5),
    LossFunction("binary_cross_entropy", _NN, "binary_cross_entropy", Reads.BINARY, 3, threshold=0.5),
    LossFunction(
        "binary_cross_entropy_with_logits", _TORCH, "binary_cross_entropy_with_logits", Reads.BINARY, 4
    ),
    LossFunction("mse_loss", _NN, "mse_loss", Reads.ELEMENTS, 2),
    LossFunction("l1_loss", _NN, "l1_loss", Reads.ELEMENTS, 2),
    LossFunction("smooth_l1_loss", _NN, "smooth_l1_loss", Reads.ELEMENTS, 2),
    LossFunction("huber_loss", _NN, "huber_loss", Reads.ELEMENTS, 2),
    LossFunction("soft_margin_loss", _NN, "soft_margin_loss", Reads.ELEMENTS, 2),
    LossFunction("multilabel_margin_loss", _NN, "multilabel_margin_loss", Reads.ROWS, 2),
    LossFunction("kl_div", _TORCH, "kl_div", Reads.ELEMENTS, 2, per_row=True),
    LossFunction("poisson_nll_loss", _TORCH, "poisson_nll_loss", Reads.ELEMENTS, 5),
    LossFunction("margin_ranking_loss", _TORCH, "margin_ranking_loss", Reads.ELEMENTS, 4),
    LossFunction("hinge_embedding_loss", _TORCH, "hinge_embedding_loss", Reads.ELEMENTS, 3),
    LossFunction("cosine_embedding_loss", _TORCH, "cosine_embedding_loss", Reads.ROWS, 4),
    LossFunction("triplet_margin_loss", _TORCH, "triplet_margin_loss", Reads.ROWS, 7),
    LossFunction("ctc_loss", _TORCH, "ctc_loss", Reads.ROWS, 5, axis=1),
)


@dataclass(slots=True, eq=False)
class Call:
    """One call of a loss function: its arguments, read by position, and its result."""

    function: LossFunction
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    result: torch.Tensor

    def argument(self, position: int | None, name: str) -> Any:
        """An argument given by position or by name; None without."""
        if position is None:
            return None
        return self.args[position] if len(self.args) > position else self.kwargs.get(name)

    @property
    def input(self) -> Any:
        """The scores, or whatever is compared."""
        return self.argument(0, "input")

    @property
    def target(self) -> Any:
        """What they are compared with."""
        return self.argument(1, "target")

    @property
    def tensors(self) -> tuple[Any, Any, Any]:
        """What should be tensors: result, input and target."""
        return self.result, self.input, self.target

    @property
    def reduction(self) -> str:
        """ "mean", "sum" or "none"; told from the result where the argument is not found."""
        number = self.argument(self.function.reduction, "reduction")
        if isinstance(number, int) and 0 <= number < len(REDUCTIONS):
            return REDUCTIONS[number]
        return "mean" if self.result.dim() == 0 else "none"

    @property
    def ignore_index(self) -> int | None:
        """Targets of this number do not count; None where there is no such argument."""
        index = self.argument(self.function.ignore_index, "ignore_index")
        return index if isinstance(index, int) else None
