"""Text to read, longer than the screen."""

from __future__ import annotations

from collections.abc import Callable

from rich.segment import Segment

from tuimon.tui.draw.frame import ENDS, SIDES, framed
from tuimon.tui.draw.text import Text
from tuimon.tui.glyphs import ABOVE, BELOW
from tuimon.tui.view import View
from tuimon.tui.widgets.canvas import Canvas


class Page(Canvas):
    """Lines made for a width, scrolled."""

    SLOW = True

    def __init__(self, view: View, title: str, content: Callable[[View, int], list[Text]]) -> None:
        super().__init__(view)
        self._title, self._content = title, content
        self._start = 0

    def scroll_by(self, lines: int) -> None:
        """Read on, or back."""
        self._start = max(0, self._start + lines)
        self.repaint()

    def lines(self, width: int, height: int) -> list[Text]:
        """See `Canvas`."""
        look, room = self.view.bright, height - ENDS
        content = self._content(self.view, width - SIDES)
        self._start = max(0, min(self._start, len(content) - room))
        after = len(content) - self._start - room
        parts = [f"{ABOVE} {self._start}"] * (self._start > 0) + [f"{BELOW} {after}"] * (after > 0)
        more = [Segment("  ".join(parts), look.dim)] if parts else None
        return framed(
            content[self._start : self._start + room], width, height, look,
            title=[Segment(self._title, look.title)], foot_value=more,
        )  # fmt: skip
