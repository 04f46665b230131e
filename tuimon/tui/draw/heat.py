"""Rows of the heat map, and its legend."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from rich.segment import Segment
from rich.style import Style

from tuimon.tui.draw.numbers import ABSENT, scientific
from tuimon.tui.draw.text import Text
from tuimon.tui.glyphs import ASCII_SHADES, HALF, NONFINITE, SHADES
from tuimon.tui.glyphs import UNSEEN as UNSEEN_GLYPH
from tuimon.tui.look import Look
from tuimon.tui.model import heat as model
from tuimon.tui.model.heat import LEVELS, Scale
from tuimon.tui.model.metric import Metric

Codes = NDArray[np.int8]
#: Glyph and style to put over a column.
Marks = Mapping[int, tuple[str, Style]]


def heat_row(
    codes: Codes, newest: int, look: Look, marks: Marks | None = None, repeat: bool = False
) -> Text:
    """One row of full cells: int8[columns]. Columns after `newest` are still to come and stay blank.

    With `repeat` it is another line of the same row, which need not say again that nothing was measured.
    """
    if repeat and bool((codes == model.UNSEEN).all()):
        return []
    return _row(codes, codes, newest, look, marks, half=False)


def heat_pair(upper: Codes, lower: Codes | None, newest: int, look: Look, marks: Marks | None = None) -> Text:
    """Two rows in one line of half blocks."""
    below = np.full_like(upper, model.UNSEEN) if lower is None else lower
    return _row(upper, below, newest, look, marks, half=True)


def _row(upper: Codes, lower: Codes, newest: int, look: Look, marks: Marks | None, half: bool) -> Text:
    columns = len(upper)
    shown = min(columns, newest + 1)
    marks = marks or {}
    text: Text = []
    if bool((upper[:shown] == model.UNSEEN).all() and (lower[:shown] == model.UNSEEN).all()):
        return _nothing(columns, look, marks)
    key = (upper[:shown].astype(np.int16) + 1) * (LEVELS + 2) + lower[:shown] + 1
    breaks = np.flatnonzero(np.diff(key)) + 1
    edges = sorted({0, shown, *breaks.tolist(), *(c for m in marks for c in (m, m + 1) if 0 <= c <= shown)})
    for start, end in pairwise(edges):
        glyph, style = cell(int(upper[start]), int(lower[start]), look, half)
        if start in marks:
            over, mark = marks[start]
            glyph, style = over, Style(color=mark.color, bgcolor=style.bgcolor, bold=mark.bold)
        text.append(Segment(glyph * (end - start), style))
    if columns > shown:
        text.append(Segment(" " * (columns - shown), look.text))
    return text


def _nothing(columns: int, look: Look, marks: Marks) -> Text:
    """A row that was never measured; alerts may be marked in it all the same."""
    line = [Segment(ABSENT, look.faint), *(Segment(" ", look.text) for _ in range(columns - 1))]
    for column, (glyph, style) in marks.items():
        if column < columns:
            line[column] = Segment(glyph, style)
    return line


@lru_cache(maxsize=1024)
def cell(upper: int, lower: int, look: Look, half: bool) -> tuple[str, Style]:
    """The character and style of a cell of one level, or of two halves of it."""
    if not look.coloured:
        level = max(upper, lower) if half else upper
        if level == model.NONFINITE:
            return NONFINITE, look.bad
        shades = ASCII_SHADES if look.ascii else SHADES
        return (UNSEEN_GLYPH, look.faint) if level == model.UNSEEN else (shades[level], look.text)
    if half and upper != lower:
        return HALF, Style(color=_colour(upper, look), bgcolor=_colour(lower, look))
    if upper == model.NONFINITE:
        return NONFINITE, look.bad
    if upper == model.UNSEEN:
        return UNSEEN_GLYPH, look.faint
    return " ", Style(bgcolor=look.ramp[upper])


def _colour(code: int, look: Look) -> str:
    if code == model.UNSEEN:
        return look.background
    if code == model.NONFINITE and look.bad.color is not None:
        return look.bad.color.name
    return look.ramp[code]


def legend(scale: Scale, metric: Metric, look: Look) -> Text:
    """The scale from its lowest level to its highest: "1e-5 ▒▒▒▒▒▒▒▒▒▒ 1e-1"."""
    def end(value: float) -> str:
        if not metric.log:
            return f"{100 * value:.0f} %"
        return scientific(10.0**value, 1)

    levels = [Segment(glyph, style) for glyph, style in (cell(i, i, look, False) for i in range(LEVELS))]
    return [
        Segment(end(scale.low) + " ", look.dim), *levels, Segment(" " + end(scale.high), look.dim),
    ]  # fmt: skip
