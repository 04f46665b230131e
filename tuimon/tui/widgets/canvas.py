"""A widget that is nothing but lines from a pure function, and repaints only those that changed."""

from __future__ import annotations

from rich.segment import Segment
from textual.events import Resize
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from tuimon.tui.draw.text import Text, fit
from tuimon.tui.glyphs import to_ascii
from tuimon.tui.look import Look
from tuimon.tui.view import View


class Canvas(Widget):
    """Subclasses say what their lines are; everything else happens here."""

    #: Whether it shows numbers or pictures that need not be newer than `view.NUMBERS_S`.
    SLOW = False

    def __init__(self, view: View, id: str | None = None) -> None:
        super().__init__(id=id)
        self.view = view
        self._strips: list[Strip] = []
        self._numbers = -1
        self._look: Look | None = None

    def lines(self, width: int, height: int) -> list[Text]:
        """What to show in a space of that size."""
        raise NotImplementedError

    def repaint(self, at_once: bool = True) -> None:
        """Draw anew what changed; with `at_once` false, slow ones wait for their time."""
        look = self.view.look
        due = at_once or look is not self._look or self._numbers != self.view.numbers
        if self.SLOW and not due:
            return
        width, height = self.size
        if not self.display or width <= 0 or height <= 0:
            return
        self._numbers, self._look = self.view.numbers, look
        drawn = self.lines(width, height)
        blank: Text = []
        strips = [
            _strip(drawn[y] if y < len(drawn) else blank, width, look) for y in range(height)
        ]
        before, self._strips = self._strips, strips
        if len(before) != len(strips):
            self.refresh()
            return
        changed = [y for y, strip in enumerate(strips) if strip != before[y]]
        if changed:
            self.refresh(*(Region(0, y, width, 1) for y in changed))

    def render_line(self, y: int) -> Strip:
        """See `Widget.render_line`."""
        if y < len(self._strips):
            return self._strips[y]
        return Strip.blank(self.size.width, self.view.look.text)

    def on_resize(self, event: Resize) -> None:
        """Another size is another picture."""
        self._strips = []
        self.repaint()


def _strip(text: Text, width: int, look: Look) -> Strip:
    segments = fit(text, width, look.text)
    if look.ascii:
        segments = [Segment(to_ascii(segment.text), segment.style) for segment in segments]
    return Strip(segments, width)
