"""Tensors one below the other, each a few histograms with the newest at the bottom."""

from __future__ import annotations

from collections.abc import Sequence

from rich.segment import Segment
from rich.style import Style

from tuimon.records.histogram import Histogram
from tuimon.tui.draw.numbers import whole
from tuimon.tui.draw.ridge import bins_for, centred, ridge, scale, summary
from tuimon.tui.draw.text import Text, beside, cells, ink, shorten
from tuimon.tui.look import Look
from tuimon.tui.model.tensors import Tensor

#: Columns for the step of each row.
_STEP = 8
#: Rows of histograms that a tensor has at most.
MOST = 8
#: Lines of a tensor beside its histograms: heading, scale, blank.
_OWN = 3


def stacked(
    tensors: Sequence[Tensor], width: int, height: int, look: Look, most: int = MOST
) -> list[Text]:
    """As many tensors as there is room for, sharing the height."""
    if not tensors:
        return []
    shown = tensors[: capacity(height)]
    each, extra = divmod(height + 1 - _OWN * len(shown), len(shown))
    lines: list[Text] = []
    for i, tensor in enumerate(shown):
        rows = max(1, min(most, each + (i < extra)))
        lines += _tensor(tensor, rows, width, look)
        lines.append([])
    return lines[:height]


def capacity(height: int) -> int:
    """How many tensors have room in that many lines."""
    return max(1, (height + 1) // (_OWN + 1))


def _tensor(tensor: Tensor, rows: int, width: int, look: Look) -> list[Text]:
    past = _spread(tensor.past, rows)
    heading: Text = [ink(tensor.title, look.title)]
    bins = bins_for([h for _, h in past], width - _STEP)
    if not past:
        return [heading, [Segment("  not measured", look.faint)]]
    words = summary(past[-1][1])
    if tensor.note and cells(heading) + len(tensor.note) + len(words) + 4 < width:
        heading.append(ink(f"  {tensor.note}", look.faint))
    said: Text = [ink(shorten(words, width - cells(heading) - 2), look.dim)]
    if bins is None:
        return [beside(heading, said, width, look.text), [Segment("  all zeros", look.dim)]]
    styles = _styles(len(past), look)
    lines = [beside(heading, said, width, look.text)]
    for (step, histogram), style in zip(past, styles, strict=True):
        label = Segment(whole(step).rjust(_STEP - 1) + " ", look.faint)
        lines.append([label, *centred(ridge(histogram, bins, style, look), width - _STEP, look)])
    lines.append([Segment(" " * _STEP, look.faint), *centred(scale(bins, look), width - _STEP, look)])
    return lines


def _spread(past: Sequence[tuple[int, Histogram]], rows: int) -> list[tuple[int, Histogram]]:
    """At most `rows` of them, evenly over the past, the newest always."""
    if len(past) <= rows:
        return list(past)
    if rows == 1:
        return [past[-1]]
    return [past[round(i * (len(past) - 1) / (rows - 1))] for i in range(rows)]


def _styles(rows: int, look: Look) -> list[Style]:
    """Older ones fade; the newest has the accent."""
    if not look.ramp:
        return [look.dim] * (rows - 1) + [look.accent]
    older = [look.ramp[min(5, 3 + 3 * i // max(1, rows - 1))] for i in range(rows - 1)]
    return [Style(color=colour, bgcolor=look.background) for colour in older] + [look.accent]
