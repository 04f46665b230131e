"""Labels and predictions of one call of a loss function, read within a bound.

Everything here runs without gradients on tensors of the CPU, and leaves the training's alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from tuimon.agent.loss.loss_functions import Reads

if TYPE_CHECKING:
    from tuimon.agent.loss.loss_functions import Call

#: Scores read per call at most, bytes, but never less than so many rows. The maximum of each row is what
#: costs: 0.2 ms for 512 KiB of 1000 classes, 0.5 ms for 16 rows of 50 000 (torch 2.13, one EPYC core).
SCORE_BYTES = 512 << 10
LEAST_ROWS = 16
#: Targets counted per call at most; that takes 0.1 ms.
LABELS = 1 << 16


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """What one call told about classes."""

    classes: int
    judged: int
    correct: int
    #: int64 [classes]: occurrences among the targets, and among the predictions judged.
    labels: torch.Tensor
    predictions: torch.Tensor


def read_labels(call: Call, turn: int, ignores: bool = True) -> Labels | None:
    """Labels of a call; None where it compares no classes. `turn` chooses what part of large ones is read.

    `ignores`: whether the function leaves out some of the targets.
    """
    scores, targets = call.input.detach(), call.target.detach()
    if not (scores.is_cpu and targets.is_cpu and scores.numel() and scores.layout is torch.strided):
        return None
    if call.function.reads is Reads.CLASSES:
        return _classes(scores, targets, call.ignore_index if ignores else None, turn)
    if call.function.reads is Reads.BINARY:
        return _binary(scores, targets, call.function.threshold, turn)
    return None


def _classes(scores: torch.Tensor, targets: torch.Tensor, ignored: int | None, turn: int) -> Labels | None:
    likely = targets.is_floating_point()
    if scores.dim() == 1:
        scores, targets = scores[None], targets[None]
    if scores.dim() > 2:
        scores = scores.movedim(1, -1)
        targets = targets.movedim(1, -1) if likely else targets
    shape, classes = scores.shape[:-1], scores.shape[-1]
    if targets.shape[: len(shape)] != shape:
        return None
    most = max(LEAST_ROWS, SCORE_BYTES // (classes * scores.element_size()))
    read = _part(shape, most, turn)
    truth = _taken(targets, shape, read)
    predicted = _taken(scores, shape, read).argmax(-1).flatten()
    if likely:
        # The maximum over all targets would cost as much as that over all scores: only the rows read.
        truth = labels = truth.argmax(-1).flatten()
    else:
        truth, labels = truth.flatten(), _taken(targets, shape, _part(shape, LABELS, turn)).flatten()
        if ignored is not None:
            counts = truth != ignored
            truth, predicted, labels = truth[counts], predicted[counts], labels[labels != ignored]
    return Labels(
        classes,
        len(truth),
        int((truth == predicted).sum()),
        torch.bincount(labels, minlength=classes),
        torch.bincount(predicted, minlength=classes),
    )


def _binary(scores: torch.Tensor, targets: torch.Tensor, threshold: float, turn: int) -> Labels | None:
    if targets.shape != scores.shape or not (scores.is_contiguous() and targets.is_contiguous()):
        return None
    scores, targets = scores.view(-1), targets.view(-1)
    read = _part(scores.shape, LABELS, turn)
    truth, predicted = _taken(targets, targets.shape, read), _taken(scores, scores.shape, read) > threshold
    positive = truth == 1
    if not bool((positive | (truth == 0)).all()):
        return None  # soft targets: a reconstruction, or smoothed labels
    n, ones, guessed = len(truth), int(positive.sum()), int(predicted.sum())
    return Labels(
        2,
        n,
        int((positive == predicted).sum()),
        torch.tensor([n - ones, ones], device="cpu"),
        torch.tensor([n - guessed, guessed], device="cpu"),
    )


def _part(shape: torch.Size, most: int, turn: int) -> slice | None:
    """Which positions of so many rows are read; None for all.

    The stride has no divisor in common with the last axis (or, where there is one axis only, with the
    powers of two that sequences are long): else it would read a few columns again and again.
    """
    rows = shape.numel()
    if rows <= most:
        return None
    stride, last = -(-rows // most), shape[-1] if len(shape) > 1 else 2
    while math.gcd(stride, last) > 1:
        stride += 1
    return slice(turn % stride, rows, stride)


def _taken(values: torch.Tensor, shape: torch.Size, part: slice | None) -> torch.Tensor:
    """That part of [*shape, ...], without a copy of all."""
    if part is None or len(shape) == 1:
        return values if part is None else values[part]
    positions, places = torch.arange(part.start, part.stop, part.step, device="cpu"), []
    for size in reversed(shape):
        places.append(positions % size)
        positions = positions // size
    return values[tuple(reversed(places))]
