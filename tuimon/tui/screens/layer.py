"""One layer: the histograms of each of its tensors, and its curves over the run."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Container

from tuimon.tui.screens.base import MonitorScreen, TooSmall
from tuimon.tui.view import View
from tuimon.tui.widgets.banner import Banner
from tuimon.tui.widgets.header import Header
from tuimon.tui.widgets.layer import LayerChart, TensorsPanel, measured_curves
from tuimon.tui.widgets.system import Keys

_HINTS = (("esc", "back"), ("t", "whole or recent"), ("q", "quit"))

#: Charts at most, and lines that one wants.
_CHARTS, _CHART_LINES = 5, 9


class LayerScreen(MonitorScreen):
    """Opened with enter."""

    def __init__(self, view: View, layer: str) -> None:
        super().__init__(view)
        self._layer = layer
        self.keys = {
            "escape": lambda: self.app.pop_screen(),
            "enter": lambda: self.app.pop_screen(),
            "t": self._turn,
            "q": lambda: self.app.exit(),
        }

    def compose(self) -> ComposeResult:
        """See `Screen`."""
        yield Header(self.view)
        yield Banner(self.view)
        with Container(id="lower"):
            yield TensorsPanel(self.view, self._layer)
            with Container(id="curves"):
                for place in range(_CHARTS):
                    yield LayerChart(self.view, self._layer, place)
        yield Keys(self.view, _HINTS)
        yield TooSmall(self.view)

    def share_room(self, width: int, height: int) -> None:
        """See `MonitorScreen`."""
        self.query_one("#curves").styles.width = width * 2 // 5
        self._choose(height)

    def paint(self, at_once: bool = True) -> None:
        """See `MonitorScreen`."""
        self._choose(self.size.height)
        super().paint(at_once)

    def _choose(self, height: int) -> None:
        """As many charts as there are curves, and room for."""
        shown = max(1, min(measured_curves(self.view, self._layer), height // _CHART_LINES))
        for place, chart in enumerate(self.query(LayerChart)):
            chart.display = place < shown

    def _turn(self) -> None:
        self.view.only_recent = not self.view.only_recent
        self.paint()
