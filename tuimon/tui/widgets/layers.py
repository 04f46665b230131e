"""Layers by time: the picture that tuimon is known by."""

from __future__ import annotations

from collections.abc import Sequence

from rich.segment import Segment
from textual import events
from textual.message import Message

from tuimon.tui.draw.frame import ENDS, SIDES, framed
from tuimon.tui.draw.heat import legend
from tuimon.tui.draw.numbers import ABSENT, whole
from tuimon.tui.draw.text import Text, cells, fit, ink, shorten_name
from tuimon.tui.glyphs import ABOVE, BELOW, DOT
from tuimon.tui.model.heat import Heat
from tuimon.tui.model.metric import METRICS
from tuimon.tui.model.rows import Row, choose, scrolled
from tuimon.tui.size import is_full
from tuimon.tui.view import View
from tuimon.tui.widgets.canvas import Canvas
from tuimon.tui.widgets.row_painter import MARKS, VALUES, RowPainter, Shape, title_of

_LONGEST_NAME, _SHORTEST_NAME = 30, 10
#: Lines that a row takes at most.
_TALLEST = 3


class LayersPanel(Canvas):
    """Rows in execution order; a column stands for the same steps in every row."""

    class Opened(Message):
        """The person wants to see the row's layers larger."""

    def __init__(self, view: View, id: str | None = None) -> None:
        super().__init__(view, id=id)
        #: What is on the screen: rows shown, in order, and the line of each.
        self._shown: list[Row] = []
        self._all: tuple[Row, ...] = ()
        self._painter = RowPainter(view)
        self._heat: Heat | None = None
        self._shape = Shape(_SHORTEST_NAME, 1, False)
        self._start = 0
        #: Lines of a row: more than one where few rows have much room.
        self._tall = 1

    @property
    def room(self) -> int:
        """Lines for rows."""
        return max(1, self.size.height - ENDS - 2)

    @property
    def row(self) -> Row | None:
        """The row that the keys act on."""
        every = self._all or self.view.rows(self.room)
        return every[min(self.view.cursor(every), len(every) - 1)] if every else None

    def move(self, by: int) -> None:
        """Go up or down that many rows."""
        every = self.view.rows(self.room)
        if every:
            at = max(0, min(len(every) - 1, self.view.cursor(every) + by))
            self.view.chosen = every[at].name

    def move_in_time(self, by: int) -> None:
        """Look at an earlier or later column; beyond the newest, at the newest."""
        heat = self._heat
        if heat is None or heat.newest < 0:
            return
        at = heat.newest + 1 if self.view.moment is None else (heat.span.column(self.view.moment) or 0)
        at = max(0, at + by)
        self.view.moment = None if at > heat.newest else heat.span.steps(at)[1]

    def lines(self, width: int, height: int) -> list[Text]:
        """See `Canvas`."""
        view, look = self.view, self.view.look
        inner, room = width - SIDES, self.room
        title = self._title(inner)
        self._all = every = view.rows(room)
        if not every:
            why = "no layer matches the filter" if view.names else "waiting for the layers' names"
            blank: list[Text] = [[] for _ in range(room // 2)]
            content = [*blank, [Segment(why.center(inner), look.dim)]]
            return framed(content, width, height, look, title=title)
        self._shape = self._share(every, inner, room)
        at = min(view.cursor(every), len(every) - 1)
        self._shown = self._visible(every, at, room)
        self._heat = heat = view.heat(self._shown, self._shape.heat)
        more = self._more(every)
        content = [self._heads(inner), *self._rows(heat, every[at]), self._steps(heat)]
        return framed(
            content, width, height, look, title=title, value=legend(heat.scale, heat.metric, look),
            foot=self._readout(heat, every[at], inner - cells(more or []) - 6), foot_value=more,
        )  # fmt: skip

    # What is shown -----------------------------------------------------------------------------------

    def _visible(self, every: Sequence[Row], at: int, room: int) -> list[Row]:
        self._tall = max(1, min(_TALLEST, room // len(every)))
        if self._shape.dense:
            room *= 2
        if len(every) > room and not is_full(*self.app.size) and self.view.chosen is None:
            self._start = 0
            return [every[i] for i in choose(self.view.importance(every), room)]
        self._start = scrolled(len(every), room, at, self._start)
        if self._shape.dense:
            self._start -= self._start % 2
        return list(every[self._start : self._start + room])

    def _share(self, every: Sequence[Row], inner: int, room: int) -> Shape:
        longest = max(len(title_of(row)) for row in every)
        name = max(_SHORTEST_NAME, min(longest, _LONGEST_NAME, inner // 4))
        dense = len(every) > room and is_full(*self.app.size) and not self.view.look.ascii
        return Shape(name, max(1, inner - MARKS - name - 1 - sum(VALUES)), dense)

    # Lines -------------------------------------------------------------------------------------------

    def _title(self, inner: int) -> Text:
        look = self.view.look
        text: Text = [Segment("layers × time", look.title)]
        if self.view.only_recent:
            text.append(Segment(" recent", look.dim))
        long = inner >= 90
        for metric in METRICS:
            chosen = metric is self.view.metric
            style = look.strong if chosen else look.dim
            gap = "  " if long or chosen or metric is METRICS[0] else " "
            text += [Segment(gap, look.frame), Segment(metric.key, look.key)]
            if long or chosen:
                text.append(Segment(metric.label[1:], style))
        return text

    def _heads(self, inner: int) -> Text:
        look = self.view.look
        left = fit([Segment(" " * MARKS + "layer", look.faint)], inner - sum(VALUES), look.text)
        for metric, room in zip(self._painter.columns(), VALUES, strict=True):
            style = look.dim if metric is self.view.metric else look.faint
            left.append(Segment(metric.label.rjust(room), style))
        return left

    def _rows(self, heat: Heat, selected: Row) -> list[Text]:
        sick = self.view.sick()
        step = 2 if self._shape.dense else 1
        lines = []
        for i in range(0, len(self._shown), step):
            pair = self._shown[i : i + step]
            row = selected if selected in pair else pair[0]
            worst = max((sick[n] for one in pair for n in one.layers if n in sick), default=None)
            line = self._painter.line(heat, i, row, row is selected, worst, self._shape)
            lines.append(line)
            if self._tall > 1:
                lines += [self._painter.bare(heat, i, self._shape)] * (self._tall - 1)
        return lines

    def _steps(self, heat: Heat) -> Text:
        look, span, room = self.view.look, heat.span, self._shape.heat
        first, last = whole(span.first), whole(span.last + 1)
        if len(first) + len(last) + 1 > room:
            first = ""
        label = first + last.rjust(room - len(first))
        return [Segment(" " * (self._shape.before) + label, look.faint)]

    def _readout(self, heat: Heat, row: Row, room: int) -> Text:
        """What the cell under the cursor says, exactly."""
        look, view = self.view.look, self.view
        column = heat.newest if view.moment is None else heat.span.column(view.moment)
        text: Text = [ink(shorten_name(row.name, 24), look.text)]
        if column is None or column < 0 or row not in self._shown:
            return fit(text, min(cells(text), max(0, room)), look.frame)
        i = self._shown.index(row)
        value = float(heat.values[i, column])
        shown = view.metric.text(value) if heat.codes[i, column] >= 0 else ABSENT
        text += [Segment(f" {DOT} {view.metric.label} ", look.dim), Segment(shown, look.strong)]
        first, last = heat.span.steps(column)
        when = f"step {whole(first)}" if first == last else f"steps {whole(first)} to {whole(last)}"
        if cells(text) + len(when) + 3 <= room:
            text.append(Segment(f" {DOT} {when}", look.dim))
        return fit(text, min(cells(text), max(0, room)), look.frame)

    def _more(self, every: Sequence[Row]) -> Text | None:
        look, hidden = self.view.look, len(every) - len(self._shown)
        if not hidden:
            return None
        if self._start == 0 and self._shown and tuple(self._shown) != tuple(every[: len(self._shown)]):
            return [Segment(f"the {len(self._shown)} most telling of {len(every)}", look.dim)]
        above, below = self._start, len(every) - self._start - len(self._shown)
        parts = [f"{ABOVE} {above} more"] * bool(above) + [f"{BELOW} {below} more"] * bool(below)
        return [Segment("  ".join(parts), look.dim)]

    # Mouse -------------------------------------------------------------------------------------------

    def _under(self, x: int, y: int) -> tuple[Row | None, int | None]:
        i = (y - 2) * (2 if self._shape.dense else 1) // self._tall
        row = self._shown[i] if y >= 2 and i < len(self._shown) else None
        column = x - SIDES // 2 - self._shape.before
        inside = self._heat is not None and 0 <= column <= self._heat.newest
        return row, column if inside else None

    def on_click(self, event: events.Click) -> None:
        """Go to the row and the moment; a second click opens it."""
        row, column = self._under(event.x, event.y)
        if row is None:
            return
        if event.chain > 1:
            self.post_message(self.Opened())
            return
        self.view.chosen = row.name
        self.view.moment = None if column is None or self._heat is None else self._heat.span.steps(column)[1]
        self.screen.post_message(Looked())

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """The next rows."""
        self.move(3)
        self.screen.post_message(Looked())

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """The rows before."""
        self.move(-3)
        self.screen.post_message(Looked())


class Looked(Message):
    """The person looks somewhere else: everything that follows the cursor is to be drawn anew."""

