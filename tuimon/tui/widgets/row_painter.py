"""One row of the layers picture: cursor, worst alert, name, heat, newest values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from rich.segment import Segment
from rich.style import Style

from tuimon.records.alert import Severity
from tuimon.tui.draw.heat import Marks, heat_pair, heat_row
from tuimon.tui.draw.text import Text, fit, ink, shorten, shorten_name
from tuimon.tui.glyphs import CURSOR, RULE, SEVERITY
from tuimon.tui.model.heat import Heat
from tuimon.tui.model.metric import DEAD, GRADIENT, UPDATE, Metric
from tuimon.tui.model.rows import Row
from tuimon.tui.view import View

#: Widths of the columns of newest values, the blank before each included.
VALUES = (9, 9, 7)
#: Columns before a name: the cursor, the worst alert, a blank.
MARKS = 3
#: Pictures of rows that are remembered.
_REMEMBERED = 512


@dataclass(frozen=True, slots=True)
class Shape:
    """How the panel's columns are shared, and whether a line holds two rows."""

    name: int
    heat: int
    dense: bool

    @property
    def before(self) -> int:
        """Columns before the heat."""
        return MARKS + self.name + 1


def title_of(row: Row) -> str:
    """What to call a row: "blocks.7 +7" for seven layers."""
    return f"{row.name} +{len(row.layers)}" if row.folded else row.name


class RowPainter:
    """Makes lines, and remembers those parts that do not change from one time to the next."""

    def __init__(self, view: View) -> None:
        self.view = view
        self._drawn: dict[object, Text] = {}
        self._figured: dict[object, Text] = {}
        self._figured_at: object = None

    def columns(self) -> tuple[Metric, Metric, Metric]:
        """Whose newest values stand at the right."""
        chosen = self.view.metric
        return (GRADIENT if chosen in (GRADIENT, UPDATE, DEAD) else chosen, UPDATE, DEAD)

    def line(
        self, heat: Heat, i: int, row: Row, selected: bool, worst: Severity | None, shape: Shape
    ) -> Text:
        """The line of row number `i` of the heat; of two, `row` is the one to be named."""
        look = self.view.look
        cursor = Segment(CURSOR if selected else " ", look.key)
        mark = Segment(" ", look.text) if worst is None else Segment(SEVERITY[worst], look.severity(worst))
        name = self._label(row, selected, worst, shape.name)
        marks = self._marks(heat, row)
        picture = self._picture(heat, i, marks, shape.dense)
        values = self._figures(row, selected, worst)
        return [cursor, mark, Segment(" ", look.text), *name, Segment(" ", look.text), *picture, *values]

    def bare(self, heat: Heat, i: int, shape: Shape) -> Text:
        """The picture of a row once more, for a row of several lines."""
        picture = heat_row(heat.codes[i], heat.newest, self.view.look, repeat=True)
        return [Segment(" " * shape.before, self.view.look.text), *picture]

    def _picture(self, heat: Heat, i: int, marks: Marks, dense: bool) -> Text:
        look = self.view.look
        lower = heat.codes[i + 1] if dense and i + 1 < len(heat.codes) else None
        below = b"" if lower is None else lower.tobytes()
        key = (look.name, dense, heat.newest, heat.codes[i].tobytes(), below, tuple(marks.items()))
        picture = self._drawn.get(key)
        if picture is None:
            if dense:
                picture = heat_pair(heat.codes[i], lower, heat.newest, look, marks)
            else:
                picture = heat_row(heat.codes[i], heat.newest, look, marks)
            if len(self._drawn) > _REMEMBERED:
                self._drawn.clear()
            self._drawn[key] = picture
        return picture

    def _label(self, row: Row, selected: bool, worst: Severity | None, room: int) -> Text:
        """The block's part of a name is dimmed: the end is what tells neighbours apart."""
        look = self.view.look
        style = look.text if worst is None else look.severity(worst)
        style = look.strong if selected and worst is None else style
        title = title_of(row)
        if row.folded and len(title) <= room:
            text: Text = [ink(row.name, style), ink(title[len(row.name) :], look.faint)]
        else:
            name = shorten_name(row.name, room)
            whole = row.block is not None and not row.folded and name == row.name
            cut = len(row.block or "") + 1 if whole else 0
            text = [ink(name[:cut], look.faint), ink(name[cut:], style)]
        text = fit(text, room, look.text)
        return [Segment(t, look.on_selected(s or look.text)) for t, s, _ in text] if selected else text

    def _figures(self, row: Row, selected: bool, worst: Severity | None) -> Text:
        """The newest values of a row, made anew when it is time for numbers."""
        now = (self.view.numbers, self.view.metric, self.view.look.name, self.view.names)
        if now != self._figured_at:
            self._figured_at = now
            self._figured.clear()
        key = (row, selected, worst)
        if key not in self._figured:
            self._figured[key] = self._figure(row, selected, worst)
        return self._figured[key]

    def _figure(self, row: Row, selected: bool, worst: Severity | None) -> Text:
        look = self.view.look
        text: Text = []
        for metric, room in zip(self.columns(), VALUES, strict=True):
            value = self.view.newest_of(metric, row)
            style = look.text if metric is self.view.metric else look.dim
            if value is None:
                style = look.faint
            elif not np.isfinite(value):
                style = look.bad
            elif worst is not None and metric is DEAD and value > 0.5:
                style = look.severity(worst)
            text.append(Segment(shorten(metric.text(value), room - 1).rjust(room), style))
        return [Segment(t, look.on_selected(s or look.text)) for t, s, _ in text] if selected else text

    def _marks(self, heat: Heat, row: Row) -> Marks:
        """The moment looked at, and where the alerts that name this row began."""
        look = self.view.look
        marks: dict[int, tuple[str, Style]] = {}
        if self.view.moment is not None:
            column = heat.span.column(self.view.moment)
            if column is not None:
                marks[column] = (RULE, look.strong)
        for alert in reversed(self.view.session.alerts):
            layers = {self.view.layer_of(name) for name in alert.where}
            column = heat.span.column(max(alert.since_step, heat.span.first))
            if column is not None and layers & set(row.layers):
                marks[column] = (SEVERITY[alert.severity], look.severity(alert.severity))
        return marks
