"""What all screens have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rich.segment import Segment
from textual import events
from textual.screen import Screen

from tuimon.tui.draw.text import Text, shorten
from tuimon.tui.size import fits, too_small
from tuimon.tui.view import View
from tuimon.tui.widgets.banner import Banner, needed
from tuimon.tui.widgets.canvas import Canvas


class TooSmall(Canvas):
    """One line, where there is no room for more."""

    def lines(self, width: int, height: int) -> list[Text]:
        """See `Canvas`."""
        return [[Segment(shorten(too_small(*self.app.size), width), self.view.look.text)]]


class MonitorScreen(Screen[None]):
    """A screen of canvases. Keys are looked up in `keys`, nowhere else."""

    ALLOW_SELECT = False
    AUTO_FOCUS = None

    def __init__(self, view: View) -> None:
        super().__init__()
        self.view = view
        self.keys: Mapping[str, Callable[[], object]] = {}

    def on_mount(self) -> None:
        """The colour of what no canvas covers, and what is to be said from the start."""
        self.styles.background = self.view.bright.background
        self._announce()

    def paint(self, at_once: bool = True) -> None:
        """Draw anew what changed."""
        self._announce()
        for canvas in self.query(Canvas):
            canvas.repaint(at_once)

    def _announce(self) -> None:
        # A screen that was only just opened has no widgets yet.
        for banner in self.query(Banner):
            banner.display = needed(self.view) and not self.has_class("small")

    def on_resize(self, event: events.Resize) -> None:
        """Another arrangement for another size."""
        self.set_class(not fits(event.size.width, event.size.height), "small")
        self._announce()
        self.share_room(event.size.width, event.size.height)

    def share_room(self, width: int, height: int) -> None:
        """Share the room between the panels."""

    def on_key(self, event: events.Key) -> None:
        """Do what the key is for."""
        printed = event.character if event.is_printable else None
        action = self.keys.get(printed or event.key) or self.keys.get(event.key)
        if action is not None:
            event.stop()
            event.prevent_default()
            action()
