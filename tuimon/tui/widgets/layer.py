"""The selected layer: its histograms, and where it is larger, its curves."""

from __future__ import annotations

import numpy as np
from rich.segment import Segment

from tuimon.rules.series import Series
from tuimon.tui.draw.frame import ENDS, SIDES, framed
from tuimon.tui.draw.tensors import capacity, stacked
from tuimon.tui.draw.text import Text, ink, shorten, shorten_name
from tuimon.tui.model.metric import ACTIVATION, ARRIVING, DEAD, GRADIENT, UPDATE, WEIGHT, Metric
from tuimon.tui.model.plot import Plot
from tuimon.tui.model.tensors import by_kind, one_by_one
from tuimon.tui.view import View
from tuimon.tui.widgets.canvas import Canvas
from tuimon.tui.widgets.chart import ChartPanel
from tuimon.tui.widgets.layers import LayersPanel

#: Newest steps whose histograms are read: what the panel spreads its rows over.
_LAST = 16

#: The curves of the larger view, of which a layer has some: a ReLU has no weights.
_CURVES = (GRADIENT, UPDATE, ACTIVATION, DEAD, ARRIVING, WEIGHT)


class LayerPanel(Canvas):
    """Histograms of what the cursor is on, tensors of a kind together."""

    SLOW = True

    def __init__(self, view: View, layers: LayersPanel, id: str | None = None) -> None:
        super().__init__(view, id=id)
        self._layers = layers

    def lines(self, width: int, height: int) -> list[Text]:
        """See `Canvas`."""
        look, row = self.view.look, self._layers.row
        if row is None:
            return framed([], width, height, look, title=[Segment("layer", look.title)])
        subject = self.view.subject(row)
        tensors = by_kind(self.view.session.history, subject, _LAST)
        name, kind = described(self.view, subject, row.name)
        title = [ink(shorten_name(name, width - 10 - len(kind)), look.title)]
        content = stacked(tensors, width - SIDES, height - ENDS, look)
        foot = [ink(shorten(why, width - 6), look.faint)] if (why := hidden(self.view, subject)) else None
        return framed(content, width, height, look, title=title, value=[ink(kind, look.dim)], foot=foot)


class TensorsPanel(Canvas):
    """Histograms of each tensor of one layer."""

    SLOW = True

    def __init__(self, view: View, layer: str, id: str | None = None) -> None:
        super().__init__(view, id=id)
        self._layer = layer

    def lines(self, width: int, height: int) -> list[Text]:
        """See `Canvas`."""
        look, subject = self.view.look, layer_index(self.view, self._layer)
        tensors = one_by_one(self.view.session.history, subject, 64)
        _, kind = described(self.view, subject, self._layer)
        content = stacked(tensors, width - SIDES, height - ENDS, look, most=24)
        left_out = len(tensors) - capacity(height - ENDS)
        why = hidden(self.view, subject) or (f"{left_out} more need more lines" if left_out > 0 else "")
        foot = [ink(shorten(why, width - 6), look.faint)] if why else None
        title = [ink(shorten_name(self._layer, width - 10 - len(kind)), look.title)]
        return framed(content, width, height, look, title=title, value=[ink(kind, look.dim)], foot=foot)


class LayerChart(ChartPanel):
    """One metric of one layer over the run."""

    def __init__(self, view: View, layer: str, place: int, id: str | None = None) -> None:
        super().__init__(view, id=id)
        self._layer, self._place = layer, place

    def lines(self, width: int, height: int) -> list[Text]:
        """See `Canvas`."""
        metric = curves_of(self.view, self._layer)[self._place]
        subject = layer_index(self.view, self._layer)
        series = Series(np.zeros(0, np.int64), np.zeros(0), np.zeros(0, np.bool_))
        if subject:
            of_all = self.view.session.history.layer_series(metric.series)
            row = subject[0]
            series = Series(of_all.steps, of_all.values[row].astype(np.float64), of_all.measured[row])
        plot = Plot(metric.label, (metric.series,), log=metric.log)
        return self.panel(plot, [series], width, height)


def curves_of(view: View, name: str) -> list[Metric]:
    """What there is to draw of a layer: what was measured of it, first of all."""
    measured = [m for m in _CURVES if any(view.newest(m)[i] is not None for i in layer_index(view, name))]
    return measured + [metric for metric in _CURVES if metric not in measured]


def measured_curves(view: View, name: str) -> int:
    """How many of them were measured."""
    return sum(any(view.newest(m)[i] is not None for i in layer_index(view, name)) for m in _CURVES)


def layer_index(view: View, name: str) -> tuple[int, ...]:
    """The layer of that name, if there (still) is one."""
    return (view.names.index(name),) if name in view.names else ()


def described(view: View, layers: tuple[int, ...], name: str) -> tuple[str, str]:
    """What to call these layers: a name, and a type or a number."""
    layout = view.session.layout
    if layout is None or not layers or max(layers) >= len(layout.layers):
        return name, ""
    if len(layers) > 1:
        return name, f"{len(layers)} layers together"
    layer = layout.layers[layers[0]]
    # Weights shared by several places of a model, or microbatches: their outputs are drawn as one.
    return layer.name, f"{layer.type}, {layer.calls} calls a step" if (layer.calls or 0) > 1 else layer.type


def hidden(view: View, layers: tuple[int, ...]) -> str | None:
    """Why activations are not seen, if they are not."""
    layout = view.session.layout
    if layout is None or len(layers) != 1 or layers[0] >= len(layout.layers):
        return None
    why = layout.layers[layers[0]].hidden
    return None if why is None else f"activations not seen: {why}"
