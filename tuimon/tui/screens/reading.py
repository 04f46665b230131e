"""A screen that is a page of text."""

from __future__ import annotations

from collections.abc import Callable

from textual.app import ComposeResult

from tuimon.tui.draw.text import Text
from tuimon.tui.screens.base import MonitorScreen, TooSmall
from tuimon.tui.view import View
from tuimon.tui.widgets.banner import Banner
from tuimon.tui.widgets.header import Header
from tuimon.tui.widgets.page import Page
from tuimon.tui.widgets.system import Keys

_HINTS = (("esc", "back"), ("↑↓", "scroll"), ("q", "quit"))


class PageScreen(MonitorScreen):
    """Help, alerts, losses."""

    def __init__(self, view: View, title: str, content: Callable[[View, int], list[Text]]) -> None:
        super().__init__(view)
        self._page = Page(view, title, content)
        self.keys = {
            "escape": lambda: self.app.pop_screen(),
            "?": lambda: self.app.pop_screen(),
            "e": lambda: self.app.pop_screen(),
            "o": lambda: self.app.pop_screen(),
            "q": lambda: self.app.exit(),
            "up": lambda: self._page.scroll_by(-1),
            "k": lambda: self._page.scroll_by(-1),
            "down": lambda: self._page.scroll_by(1),
            "j": lambda: self._page.scroll_by(1),
            "pageup": lambda: self._page.scroll_by(-self.size.height // 2),
            "pagedown": lambda: self._page.scroll_by(self.size.height // 2),
            "space": lambda: self._page.scroll_by(self.size.height // 2),
            "home": lambda: self._page.scroll_by(-10**6),
            "end": lambda: self._page.scroll_by(10**6),
        }

    def compose(self) -> ComposeResult:
        """See `Screen`."""
        yield Header(self.view)
        yield Banner(self.view)
        yield self._page
        yield Keys(self.view, _HINTS)
        yield TooSmall(self.view)
