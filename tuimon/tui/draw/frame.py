"""A panel's frame, with its title and its newest value set into the upper line."""

from __future__ import annotations

from collections.abc import Sequence

from rich.segment import Segment

from tuimon.tui.draw.text import Text, cells, fit
from tuimon.tui.glyphs import CORNERS, HORIZONTAL, VERTICAL
from tuimon.tui.look import Look

#: Columns and rows that a frame takes from its content.
SIDES, ENDS = 4, 2


def framed(
    content: Sequence[Text],
    width: int,
    height: int,
    look: Look,
    *,
    title: Text | None = None,
    value: Text | None = None,
    foot: Text | None = None,
    foot_value: Text | None = None,
) -> list[Text]:
    """Exactly `height` lines of `width` columns. Content has one blank column on either side."""
    if width < SIDES + 1 or height < ENDS + 1:
        return [fit([], width, look.text) for _ in range(height)]
    edge = Segment(VERTICAL, look.frame)
    blank = Segment(" ", look.text)
    lines = [_border(CORNERS[0], CORNERS[1], title, value, width, look)]
    for row in range(height - ENDS):
        inner = content[row] if row < len(content) else []
        lines.append([edge, blank, *fit(inner, width - SIDES, look.text), blank, edge])
    lines.append(_border(CORNERS[3], CORNERS[2], foot, foot_value, width, look))
    return lines


def _border(first: str, last: str, left: Text | None, right: Text | None, width: int, look: Look) -> Text:
    """"╭ left ──── right ─╮": the right text survives when there is no room for both."""
    room = width - 4
    ending = [Segment(" ", look.frame), *right, Segment(" ", look.frame)] if right else []
    if cells(ending) > room:
        ending = []
    beginning = [Segment(" ", look.frame), *left, Segment(" ", look.frame)] if left else []
    if cells(beginning) + cells(ending) > room:
        beginning = fit(beginning, max(0, room - cells(ending)), look.frame)
    rule = HORIZONTAL * (room - cells(beginning) - cells(ending))
    return [
        Segment(first + HORIZONTAL, look.frame), *beginning, Segment(rule, look.frame), *ending,
        Segment(HORIZONTAL + last, look.frame),
    ]  # fmt: skip
