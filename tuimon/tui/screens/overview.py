"""The overview: is it learning, is it healthy, where is it sick, what does watching cost."""

from __future__ import annotations

import re
from collections.abc import Callable

from textual import events
from textual.app import ComposeResult
from textual.containers import Container

from tuimon.tui.model.metric import METRICS
from tuimon.tui.model.plot import plots
from tuimon.tui.screens.base import MonitorScreen, TooSmall
from tuimon.tui.screens.layer import LayerScreen
from tuimon.tui.screens.losses import losses_page
from tuimon.tui.screens.pages import alerts_page, help_page
from tuimon.tui.screens.reading import PageScreen
from tuimon.tui.size import is_full
from tuimon.tui.view import View
from tuimon.tui.widgets.alerts import AlertsPanel
from tuimon.tui.widgets.banner import Banner
from tuimon.tui.widgets.chart import ChartPanel
from tuimon.tui.widgets.header import Header
from tuimon.tui.widgets.layer import LayerPanel
from tuimon.tui.widgets.layers import LayersPanel, Looked
from tuimon.tui.widgets.system import Keys, SystemLine

_HINTS = (
    ("?", "help"), ("q", "quit"), ("/", "filter"), ("enter", "layer"), ("e", "alerts"), ("c", "chart"),
    ("space", "fold"), ("t", "whole or recent"), ("←→", "time"), ("↑↓", "layer"),
)  # fmt: skip
#: Widths at which the right column, and the third chart, have room.
_RIGHT = (42, 60)
_THREE_CHARTS = 150
#: Lines below the charts that the histograms want.
_LOWER = 28


class OverviewScreen(MonitorScreen):
    """Header, curves, alerts, layers by time, the selected layer, the machine."""

    def __init__(self, view: View) -> None:
        super().__init__(view)
        self._header = Header(view)
        self._charts = [ChartPanel(view, place) for place in range(3)]
        self._layers = LayersPanel(view)
        self._layer = LayerPanel(view, self._layers)
        self._alerts = AlertsPanel(view)
        self._line = Keys(view, _HINTS)
        self.keys = self._bound()

    def compose(self) -> ComposeResult:
        """See `Screen`."""
        yield self._header
        yield Banner(self.view)
        with Container(id="upper"):
            with Container(id="charts"):
                yield from self._charts
            yield self._alerts
        with Container(id="lower"):
            yield self._layers
            yield self._layer
        yield SystemLine(self.view)
        yield self._line
        yield TooSmall(self.view)

    def share_room(self, width: int, height: int) -> None:
        """See `MonitorScreen`."""
        full = is_full(width, height)
        right = max(_RIGHT[0], min(_RIGHT[1], width // 3)) if full else width // 2
        self._alerts.styles.width = right
        self._layer.styles.width = right
        self._layer.display = full
        # The curves get what a short list of layers leaves, up to a third.
        needed = max(_LOWER, len(self.view.rows(height // 2)) + 5)
        upper = max(9, height // 4, min(height // 3, height - 3 - needed))
        self.query_one("#upper").styles.height = upper if full else max(6, height // 3)
        shown = 1 + full + (full and width >= _THREE_CHARTS)
        for place, panel in enumerate(self._charts):
            panel.display = place < shown

    def _bound(self) -> dict[str, Callable[[], object]]:
        view, layers = self.view, self._layers

        def then(change: Callable[[], object]) -> Callable[[], object]:
            def act() -> None:
                change()
                self._look()

            return act

        keys: dict[str, Callable[[], object]] = {
            "?": lambda: self.app.push_screen(PageScreen(view, "help", help_page)),
            "e": lambda: self.app.push_screen(PageScreen(view, "alerts", alerts_page)),
            "o": lambda: self.app.push_screen(PageScreen(view, "losses", losses_page)),
            "q": lambda: self.app.exit(),
            "/": self._begin_filter,
            "enter": self._open,
            "escape": then(self._back),
            "c": then(self._next_chart),
            "n": then(self._next_alert),
            "t": then(lambda: setattr(view, "only_recent", not view.only_recent)),
            "y": then(lambda: setattr(view, "log", not self._charts[0].is_log)),
            "space": then(self._fold),
            "f": then(lambda: view.fold_all(layers.room)),
            "home": then(lambda: layers.move(-10**6)),
            "end": then(lambda: layers.move(10**6)),
            "pageup": then(lambda: layers.move(-layers.room)),
            "pagedown": then(lambda: layers.move(layers.room)),
        }
        for names, by in ((("up", "k"), -1), (("down", "j"), 1)):
            keys |= {name: then(lambda by=by: layers.move(by)) for name in names}  # type: ignore[misc]
        for names, by in ((("left", "h"), -1), (("right", "l"), 1)):
            keys |= {name: then(lambda by=by: layers.move_in_time(by)) for name in names}  # type: ignore[misc]
        for metric in METRICS:
            keys[metric.key] = then(lambda key=metric.key: view.choose_metric(key))  # type: ignore[misc]
        return keys

    def on_looked(self, message: Looked) -> None:
        """The mouse went somewhere."""
        self._look()

    def on_layers_panel_opened(self, message: LayersPanel.Opened) -> None:
        """The mouse opened a row."""
        self._open()

    def on_key(self, event: events.Key) -> None:
        """Keys go to the filter while it is typed."""
        if self._line.typed is None:
            super().on_key(event)
            return
        event.stop()
        event.prevent_default()
        self._type(event)

    def _look(self) -> None:
        """Draw what follows the person's eyes, at once."""
        self.view.tick(at_once=True)
        self.paint()

    def _back(self) -> None:
        """One step towards how it was in the beginning."""
        view = self.view
        if view.moment is not None:
            view.moment = None
        elif view.filter is not None:
            view.filter = None
        else:
            view.chosen = None

    def _fold(self) -> None:
        row = self._layers.row
        if row is not None:
            self.view.fold(row, self._layers.room)

    def _open(self) -> None:
        row = self._layers.row
        if row is None:
            return
        subject = self.view.subject(row)
        if len(subject) > 1:
            self._fold()
            self._look()
            return
        self.app.push_screen(LayerScreen(self.view, self.view.names[subject[0]]))

    def _next_chart(self) -> None:
        self.view.chart_number = (self.view.chart_number + 1) % len(plots(self.view.session.history))

    def _next_alert(self) -> None:
        self.view.alert_number += 1
        self.view.chosen = None

    # The filter --------------------------------------------------------------------------------------

    def _begin_filter(self) -> None:
        self._line.typed = self.view.filter.pattern if self.view.filter is not None else ""
        self._line.wrong = None
        self._look()

    def _type(self, event: events.Key) -> None:
        typed = self._line.typed or ""
        if event.key == "escape":
            self._line.typed, self.view.filter = None, None
        elif event.key == "enter":
            self._line.typed = None
        elif event.key in ("backspace", "ctrl+h"):
            self._filter(typed[:-1])
        elif event.key == "ctrl+u":
            self._filter("")
        elif event.is_printable and event.character is not None:
            self._filter(typed + event.character)
        self._look()

    def _filter(self, typed: str) -> None:
        """Filter by what was typed so far; while it is no regular expression the last good one holds."""
        self._line.typed = typed
        try:
            self.view.filter = re.compile(typed) if typed else None
            self._line.wrong = None
        except re.error as error:
            self._line.wrong = f"not a regular expression: {error.msg}"
