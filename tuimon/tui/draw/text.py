"""Runs of styled text that are fitted into cells before they reach the screen."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style

#: One line, or a part of one.
Text = list[Segment]


def ink(text: str, style: Style) -> Segment:
    """A run of one style. Control characters, which names from outside may hold, become "?"."""
    if not text.isprintable():
        text = "".join(c if c.isprintable() else "?" for c in text)
    return Segment(text, style)


def cells(text: Iterable[Segment]) -> int:
    """Columns that a line takes."""
    return sum(cell_len(segment.text) for segment in text)


def fit(text: Iterable[Segment], width: int, style: Style) -> Text:
    """The line cropped or padded to exactly `width` columns; `style` is that of the padding."""
    fitted: Text = []
    room = width
    for segment in text:
        taken = cell_len(segment.text)
        if taken <= room:
            fitted.append(segment)
            room -= taken
            continue
        if room > 0:
            fitted.append(Segment(set_cell_size(segment.text, room), segment.style))
        room = 0
        break
    if room > 0:
        fitted.append(Segment(" " * room, style))
    return fitted


def beside(left: Text, right: Text, width: int, style: Style) -> Text:
    """Two texts at the two ends of a line; the left one yields where they would meet."""
    if not right or cells(right) >= width:
        return fit(left, width, style)
    return [*fit(left, width - cells(right), style), *right]


def shorten(text: str, width: int, ellipsis: str = "…") -> str:
    """The text, its end left out where it is too long."""
    if cell_len(text) <= width:
        return text
    if width <= len(ellipsis):
        return set_cell_size(text, max(0, width))
    return set_cell_size(text, width - len(ellipsis)).rstrip() + ellipsis


def shorten_name(name: str, width: int, ellipsis: str = "…") -> str:
    """A dotted name, its beginning left out where it is too long: the end tells layers apart."""
    if cell_len(name) <= width:
        return name
    if width <= len(ellipsis):
        return set_cell_size(name, max(0, width))
    tail = name
    while cell_len(tail) > width - len(ellipsis):
        tail = tail[1:]
    return ellipsis + tail


def wrap(text: str, width: int, lines: int, ellipsis: str = "…") -> list[str]:
    """The text in at most `lines` lines; the last one says when there was more."""
    if lines <= 0 or width <= 0:
        return []
    # Kept by line: advice may come as several.
    wrapped = [part for line in text.splitlines() for part in textwrap.wrap(line, width) or [""]]
    if len(wrapped) <= lines:
        return wrapped
    last = wrapped[lines - 1]
    return [*wrapped[: lines - 1], shorten(last, width - len(ellipsis), "") + ellipsis]
