"""A curve over the run."""

from __future__ import annotations

import numpy as np
from rich.segment import Segment

from tuimon.rules.series import Series
from tuimon.tui.draw.chart import Curve, chart, dots_across
from tuimon.tui.draw.frame import ENDS, SIDES, framed
from tuimon.tui.draw.loss import accuracies, made
from tuimon.tui.draw.numbers import duration, number
from tuimon.tui.draw.text import Text, cells, fit, ink, shorten
from tuimon.tui.glyphs import FALLING, RISING
from tuimon.tui.model.axis import Axis, axis_for
from tuimon.tui.model.columns import gather
from tuimon.tui.model.plot import Plot, plots
from tuimon.tui.model.span import hold
from tuimon.tui.model.trend import direction
from tuimon.tui.view import View
from tuimon.tui.widgets.canvas import Canvas


class ChartPanel(Canvas):
    """One of the charts that there are: the `place`-th after the one chosen."""

    SLOW = True

    def __init__(self, view: View, place: int = 0, id: str | None = None) -> None:
        super().__init__(view, id=id)
        self._place = place
        self._axis: Axis | None = None
        self._shown: object = None

    @property
    def is_log(self) -> bool:
        """Whether the scale is logarithmic at present."""
        return self._axis is not None and self._axis.log

    def lines(self, width: int, height: int) -> list[Text]:
        """See `Canvas`."""
        history = self.view.session.history
        offered = plots(history)
        plot = offered[(self.view.chart_number + self._place) % len(offered)]
        series = [history.scalar(name) for name in plot.series]
        return self.panel(plot, series, width, height)

    def panel(self, plot: Plot, series: list[Series], width: int, height: int) -> list[Text]:
        """The framed chart of these series."""
        view, look = self.view, self.view.look
        inner, rows = width - SIDES, height - ENDS
        legend = self._legend(plot, series, inner) if len(series) > 1 and rows > 4 else None
        span = view.span(dots_across(inner, look.ascii))
        styles = (look.accent, look.second)
        samples = len(view.session.history)
        # What comes at steps of its own is joined over its own intervals.
        holds = [None if len(one) == samples else hold(one.steps, span.width) for one in series]
        curves = [
            Curve(name, gather(one, span), styles[i], holds[i])
            for i, (name, one) in enumerate(zip(plot.names or plot.series, series, strict=True))
        ]
        log = view.log if plot.log is None else plot.log
        previous = self._axis if self._shown == (plot, log) else None
        # What is drawn of each: of the first also the spread.
        drawn = [curves[0].columns.low, curves[0].columns.high, *(curve.columns.mean for curve in curves)]
        values = np.concatenate(drawn)
        self._axis, self._shown = axis_for(values, log, previous), (plot, log)
        cursor = None if view.moment is None else span.column(view.moment)
        content = chart(curves, self._axis, span, inner, rows - (legend is not None), look, cursor)
        if legend is not None:
            content = [legend, *content]
        if self._axis is None:
            content = self._nothing(plot, inner, rows)
        title = [ink(plot.title, look.title)]
        if self._axis is not None and self._axis.log:
            title.append(Segment(", log", look.dim))
        value = self._value(plot, series[0])
        foot = [ink(shorten(plot.foot, inner), look.dim)] if plot.foot is not None else None
        if plot.title == "loss":
            title += made(view, inner - cells(title) - cells(value) - 4)
            foot = accuracies(view, inner)
        return framed(content, width, height, look, title=title, value=value, foot=foot)

    def _value(self, plot: Plot, series: Series) -> Text:
        """The newest value, or the one at the moment looked at."""
        look, moment = self.view.look, self.view.moment
        if moment is not None and len(series):
            at = int(np.searchsorted(series.steps, moment, side="right")) - 1
            known = at >= 0 and bool(series.measured[at])
            return [Segment(_text(plot, float(series.values[at]) if known else None), look.strong)]
        value = series.newest
        if value is not None and not np.isfinite(value):
            return [Segment(number(value), look.bad)]
        text: Text = [Segment(_text(plot, value), look.strong)]
        arrow = {1: RISING, -1: FALLING, 0: ""}[direction(series)]
        return [*text, Segment(f" {arrow}", look.dim)] if arrow else text

    def _legend(self, plot: Plot, series: list[Series], width: int) -> Text:
        """Names and newest values; names are shortened before a value is cut."""
        look = self.view.look
        present = [one.present for one in series]
        values = [f" {_text(plot, float(one.values[-1]) if len(one) else None)}" for one in present]
        room = width + 2 - sum(4 + len(value) for value in values)
        longest = max(c for c in range(3, 17) if c == 3 or sum(min(c, len(n)) for n in plot.names) <= room)
        text: Text = []
        for name, value, style in zip(plot.names, values, (look.accent, look.second), strict=False):
            text += [Segment("─ ", style), ink(shorten(name, longest), look.dim)]
            text.append(Segment(f"{value}  ", look.text))
        return text

    def _nothing(self, plot: Plot, width: int, rows: int) -> list[Text]:
        look = self.view.look
        if self.view.session.last is None:
            why = "waiting for the first step"
        else:
            why = self.view.session.history.missing(plot.series[0]) or "not measured yet"
        text = shorten(why, width)
        above = [[] for _ in range(max(0, rows // 2 - 1))]  # type: list[Text]
        return [*above, fit([ink(text.center(width), look.dim)], width, look.text)]


def _text(plot: Plot, value: float | None) -> str:
    return duration(value) if plot.series == ("step_s",) else number(value, 4 if plot.title == "loss" else 3)
