"""Curves over steps, in dots, with labelled axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style

from tuimon.tui.draw.braille import band, bridged, characters, raster, resolution, trace
from tuimon.tui.draw.numbers import number, whole
from tuimon.tui.draw.text import Text, fit
from tuimon.tui.glyphs import NONFINITE, RULE
from tuimon.tui.look import Look
from tuimon.tui.model.axis import Axis
from tuimon.tui.model.columns import Columns
from tuimon.tui.model.span import Span

#: Columns of the labels of the vertical axis, the blank after them included.
LABELS = 8
#: Rows of the horizontal axis.
STEPS = 1


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """One series gathered into columns of dots."""

    name: str
    columns: Columns
    style: Style
    #: Columns without a value that are drawn over; None for those of the span.
    hold: int | None = None


def dots_across(width: int, ascii: bool) -> int:
    """Columns of dots in a chart of `width` cells, labels included."""
    return max(1, width - LABELS) * resolution(ascii)[0]


def chart(
    curves: Sequence[Curve], axis: Axis | None, span: Span, width: int, height: int, look: Look,
    cursor: int | None = None,
) -> list[Text]:  # fmt: skip
    """`height` lines of `width` columns: the curves, the values at the left, the steps below.

    Args:
        curves: the first is drawn on top; the spread of values is drawn behind it.
        axis: None when nothing was measured.
        span: its columns are columns of dots, `dots_across` of them.
        cursor: a column of dots to mark.
    """
    rows = height - STEPS
    if axis is None or rows < 1:
        return [[] for _ in range(height)]
    plot = _plot(curves, axis, width - LABELS, rows, look, cursor, span.hold)
    labels = _labels(axis, rows)
    lines = [
        [Segment(label.rjust(LABELS - 1) + " ", look.faint), *line]
        for label, line in zip(labels, plot, strict=True)
    ]
    return [*lines, _steps(span, width, look)]


def _plot(
    curves: Sequence[Curve], axis: Axis, width: int, rows: int, look: Look, cursor: int | None, hold: int
) -> list[Text]:
    cells = [[" "] * width for _ in range(rows)]
    styles = [[look.text] * width for _ in range(rows)]

    def lay(lines: list[str], style: Style) -> None:
        for row, line in enumerate(lines):
            for column, character in enumerate(line):
                if character != " ":
                    cells[row][column], styles[row][column] = character, style

    across = resolution(look.ascii)[0]
    if cursor is not None and 0 <= cursor // across < width:
        for row in range(rows):
            cells[row][cursor // across], styles[row][cursor // across] = RULE, look.faint
    if curves and not look.ascii:
        dots = raster(width, rows, look.ascii)
        first = curves[0].columns
        spread = first.high > first.low
        hole = np.where(spread, 0.0, np.nan)
        band(dots, axis.place(first.low) + hole, axis.place(first.high) + hole)
        lay(characters(dots, look.ascii), look.spread)
    for curve in reversed(curves):
        dots = raster(width, rows, look.ascii)
        own = hold if curve.hold is None else curve.hold
        trace(dots, bridged(axis.place(curve.columns.mean), own))
        lay(characters(dots, look.ascii), curve.style)
    for curve in curves:
        for column in np.flatnonzero(curve.columns.nonfinite).tolist():
            cells[0][column // across], styles[0][column // across] = NONFINITE, look.bad
    return [_runs(cells[row], styles[row]) for row in range(rows)]


def _runs(characters: list[str], styles: list[Style]) -> Text:
    """Neighbours of one style become one segment."""
    runs: Text = []
    start = 0
    for i in range(1, len(characters) + 1):
        if i == len(characters) or styles[i] is not styles[start]:
            runs.append(Segment("".join(characters[start:i]), styles[start]))
            start = i
    return runs


def _labels(axis: Axis, rows: int) -> list[str]:
    """A value at the top, at the bottom and, where there is room, between; each exact for its row."""
    labels = [""] * rows
    marks = {0, rows - 1, *(() if rows < 5 else (rows // 2,))}
    for row in marks:
        height = 1.0 if rows == 1 else 1.0 - row / (rows - 1)
        labels[row] = label(axis.value(height), axis)
    return labels


def label(value: float, axis: Axis) -> str:
    """A value of an axis in at most seven columns."""
    if not axis.log and abs(value) < (axis.high - axis.low) * 1e-6:
        return "0"
    # Between the ends of a logarithmic axis no value is round.
    for digits in (2, 1) if axis.log else (4, 3, 2, 1):
        text = number(value, digits)
        mantissa, _, exponent = text.partition("e")
        if "." in mantissa:
            text = mantissa.rstrip("0").rstrip(".") + (f"e{exponent}" if exponent else "")
        if cell_len(text) < LABELS:
            return text
    return text[: LABELS - 1]


def _steps(span: Span, width: int, look: Look) -> Text:
    first, last = whole(span.first), whole(span.last + 1)
    room = width - LABELS
    if len(first) + len(last) + 2 > room:
        return fit([Segment(" " * LABELS + last.rjust(room), look.faint)], width, look.text)
    gap = room - len(first) - len(last)
    middle = whole(span.first + (span.last + 1 - span.first) // 2)
    line = first + " " * gap + last
    start = room // 2 - len(middle) // 2
    if start - len(first) >= 3 and start + len(middle) + 3 <= room - len(last):
        line = line[:start] + middle + line[start + len(middle) :]
    return [Segment(" " * LABELS + line, look.faint)]
