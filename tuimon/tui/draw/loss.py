"""What is said around the loss: how the number came about, and how often the model is right."""

from __future__ import annotations

import numpy as np
from rich.segment import Segment

from tuimon.session.scalars import loss_words
from tuimon.tui.draw.numbers import percent
from tuimon.tui.draw.text import Text, cells
from tuimon.tui.glyphs import DOT
from tuimon.tui.view import View

#: Samples over which the training's accuracy is taken: that of one batch dances.
_WINDOW = 16


def made(view: View, width: int) -> Text:
    """How the loss came about, such as ", mean of 4 microbatches, unscaled", in at most `width` columns."""
    last, text = view.session.last, ""
    for word in loss_words(last).split(", ") if last is not None else []:
        for said in (word, word.removesuffix(" microbatches")):
            if word and len(text) + len(said) + 2 <= width:
                text += f", {said}"
                break
    return [Segment(text, view.look.dim)] if text else []


def accuracies(view: View, width: int) -> Text | None:
    """Of training and validation, in at most `width` columns; None if there is nothing to say."""
    look = view.look
    text: Text = []
    for name, label in (("train_accuracy", "accuracy "), ("val_accuracy", "val ")):
        value = _accuracy(view, name)
        if value is None:
            continue
        words = label if text or name == "train_accuracy" else f"{label}accuracy "
        part = [Segment(words, look.dim), Segment(percent(value), look.text)]
        gap = [Segment(f" {DOT} ", look.faint)] if text else []
        if cells(text) + cells(gap) + cells(part) <= width - 2:
            text += [*gap, *part]
    return text or None


def _accuracy(view: View, name: str) -> float | None:
    """Of the newest samples (of validation the newest pass), or of those up to the moment looked at."""
    present = view.session.history.scalar(name).present
    end = len(present)
    if view.moment is not None:
        end = int(np.searchsorted(present.steps, view.moment, side="right"))
    first = max(0, end - (_WINDOW if name == "train_accuracy" else 1))
    return float(present.values[first:end].mean()) if end > first else None
