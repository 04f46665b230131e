"""What the person chose to look at, over the session that is looked at."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence

import numpy as np

from tuimon.records.alert import Alert, Severity
from tuimon.session.session import Session
from tuimon.tui.look import Look
from tuimon.tui.model.heat import Heat, HeatMap
from tuimon.tui.model.metric import BY_KEY, GRADIENT, Metric
from tuimon.tui.model.rows import Row, block_of, blocks, fold_to_fit, row_of, rows
from tuimon.tui.model.span import Span, recent, whole

#: Without a sample for this long, or for this many times the usual interval, the picture counts as old.
_OLD_S, _OLD_INTERVALS = 5.0, 4.0
#: Numbers are read, not watched: they change this often at most, seconds.
NUMBERS_S = 1.0


class View:
    """One person's view. Belongs to the screen's thread.

    Args:
        session: the run.
        target: what the person asked for, shown until the run has introduced itself.
        look: colours and glyphs.
        clock: Unix time, seconds.
    """

    def __init__(self, session: Session, target: str, look: Look, clock: Callable[[], float]) -> None:
        self.session = session
        self.target = target
        self.clock = clock
        self.metric: Metric = GRADIENT
        self.heat_map = HeatMap()
        #: Name of the row or layer that the person went to; None while the view follows the alerts.
        self.chosen: str | None = None
        #: A step looked at; None for the newest.
        self.moment: int | None = None
        #: Which alert is opened, by number.
        self.alert_number = 0
        self.chart_number = 0
        #: Whether the charts are logarithmic; None lets the values decide.
        self.log: bool | None = None
        self.only_recent = False
        #: Blocks that the person folded or unfolded by hand; the others follow the room there is.
        self.by_hand: dict[str, bool] = {}
        self.filter: re.Pattern[str] | None = None
        self._look, self._faded = look, look.faded()
        self._values: dict[str, tuple[list[float | None], int]] = {}
        self._numbers_at = -math.inf
        self._numbers = 0

    @property
    def look(self) -> Look:
        """Colours and glyphs, faded when the picture is no longer true."""
        return self._faded if self.session.connection.status == "reconnecting" else self._look

    @property
    def bright(self) -> Look:
        """The look that never fades, for what is said about the picture itself."""
        return self._look

    @property
    def numbers(self) -> int:
        """Changes when numbers shall be drawn anew."""
        return self._numbers

    def tick(self, at_once: bool = False) -> bool:
        """Whether it is time to draw numbers anew; to be asked once before each painting."""
        now = self.clock()
        if not at_once and 0 <= now - self._numbers_at < NUMBERS_S:
            return False
        self._numbers_at = now
        self._numbers += 1
        self._values.clear()
        return True

    # What is watched ---------------------------------------------------------------------------------

    @property
    def names(self) -> tuple[str, ...]:
        """All layers in execution order."""
        return self.session.history.layer_names

    def silence_s(self) -> float | None:
        """Age of the newest sample when it is older than it should be; None otherwise."""
        last = self.session.last
        if last is None or self.session.connection.status == "ended":
            return None
        age = self.clock() - last.time_s
        usual = (last.step_s or 0.0) * last.every
        return age if age > max(_OLD_S, _OLD_INTERVALS * usual) else None

    def newest(self, metric: Metric) -> list[float | None]:
        """The newest value of every layer; None where it was not measured."""
        known = self._values.get(metric.series)
        if known is not None and known[1] == len(self.names):
            return known[0]
        series = self.session.history.layer_series(metric.series, 1)
        values: list[float | None] = [None] * len(series.names)
        if series.values.shape[1]:
            found = zip(series.values[:, -1].tolist(), series.measured[:, -1].tolist(), strict=True)
            values = [value if measured else None for value, measured in found]
        self._values[metric.series] = (values, len(values))
        return values

    def newest_of(self, metric: Metric, row: Row) -> float | None:
        """A row's newest value; of a folded block the mean of its layers', geometric where logarithmic."""
        values = self.newest(metric)
        present = [v for v in (values[i] for i in row.layers if i < len(values)) if v is not None]
        if len(present) <= 1:
            return present[0] if present else None
        if not all(math.isfinite(v) for v in present):
            return next(v for v in present if not math.isfinite(v))
        if not metric.log:
            return sum(present) / len(present)
        positive = [math.log10(v) for v in present if v > 0]
        return 10.0 ** (sum(positive) / len(positive)) if positive else 0.0

    def span(self, columns: int) -> Span:
        """The steps that a picture of that many columns shows."""
        steps = self.session.history.steps
        return recent(steps, columns) if self.only_recent else whole(steps, columns)

    # Rows --------------------------------------------------------------------------------------------

    def rows(self, room: int) -> tuple[Row, ...]:
        """Rows of the layers picture; blocks are folded when not all layers have room."""
        return rows(self.names, self._folded(room), self.filter)

    def _folded(self, room: int) -> frozenset[str]:
        names = self.names
        sick = [block_of(names[layer]) for layer in self.sick()]
        first = tuple(dict.fromkeys(block for block in sick if block is not None))
        folded = fold_to_fit(names, room, first)
        for block, fold in self.by_hand.items():
            folded = frozenset(one for one in folded if one != block and not one.startswith(f"{block}."))
            folded = folded | {block} if fold else folded
        return folded

    def heat(self, shown: Sequence[Row], columns: int) -> Heat:
        """The picture of these rows."""
        return self.heat_map.update(self.session.history, self.metric, shown, self.span(columns))

    def cursor(self, shown: Sequence[Row]) -> int:
        """The row that the keys act on."""
        if self.chosen is not None:
            for i, row in enumerate(shown):
                if row.name == self.chosen:
                    return i
            if self.chosen in self.names:
                found = row_of(shown, self.names.index(self.chosen))
                if found is not None:
                    return found
            # A block that was unfolded: its first layer.
            return next((i for i, row in enumerate(shown) if row.block == self.chosen), 0)
        alert = self.alert
        layer = self.layer_of(alert.where[0]) if alert is not None and alert.where else None
        return (row_of(shown, layer) or 0) if layer is not None else 0

    def subject(self, row: Row) -> tuple[int, ...]:
        """Layers that the layer panel shows for a row: of a sick block the culprit, else all of it."""
        if row.folded:
            alert = self.alert
            culprits = [] if alert is None else [self.layer_of(name) for name in alert.where]
            for layer in culprits:
                if layer is not None and layer in row.layers:
                    return (layer,)
        return row.layers

    def fold(self, row: Row, room: int) -> None:
        """Fold the row's block, or unfold it."""
        if row.block is None or row.block not in blocks(self.names):
            return
        self.by_hand[row.block] = not row.folded
        self.chosen = row.block if not row.folded else self.names[row.layers[0]]

    def fold_all(self, room: int) -> None:
        """Unfold everything, or fold it if nothing is folded."""
        folded = any(row.folded for row in self.rows(room))
        self.by_hand = dict.fromkeys(blocks(self.names), not folded)
        if self.chosen is not None and not folded:
            self.chosen = block_of(self.chosen) or self.chosen

    # Alerts ------------------------------------------------------------------------------------------

    @property
    def alert(self) -> Alert | None:
        """The alert that is opened: the one chosen, else the first."""
        alerts = self.session.alerts
        return alerts[self.alert_number % len(alerts)] if alerts else None

    def layer_of(self, name: str) -> int | None:
        """The layer of a module's or parameter's name; None for what is of no layer."""
        names = self.names
        while name:
            if name in names:
                return names.index(name)
            name = name.rpartition(".")[0]
        return None

    def sick(self) -> dict[int, Severity]:
        """Worst severity of the alerts that name a layer."""
        worst: dict[int, Severity] = {}
        for alert in self.session.alerts:
            for name in alert.where:
                layer = self.layer_of(name)
                if layer is not None:
                    worst[layer] = max(worst.get(layer, Severity.INFO), alert.severity)
        return worst

    def importance(self, shown: Sequence[Row]) -> list[float]:
        """How much each row deserves to be seen when not all can be: the sick first, then the unusual."""
        sick = self.sick()
        logs = []
        for row in shown:
            value = self.newest_of(self.metric, row)
            known = value is not None and math.isfinite(value) and value > 0
            logs.append(math.log10(value) if known and value is not None else math.nan)
        places = np.array(logs)
        finite = places[np.isfinite(places)]
        middle = float(np.median(finite)) if finite.size else 0.0
        unusual = np.nan_to_num(np.abs(places - middle))
        return [
            100.0 * max((1 + sick[i] for i in row.layers if i in sick), default=0) + float(unusual[n])
            for n, row in enumerate(shown)
        ]

    def choose_metric(self, key: str) -> None:
        """Show another value in the heat map."""
        self.metric = BY_KEY[key]
