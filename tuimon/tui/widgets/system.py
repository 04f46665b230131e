"""The lower edge: where the time goes, memory, how often is looked; and the keys."""

from __future__ import annotations

import numpy as np
from rich.segment import Segment

from tuimon.session.history import History
from tuimon.tui.draw.numbers import ABSENT, duration, percent, size
from tuimon.tui.draw.text import Text, cells
from tuimon.tui.glyphs import DOT
from tuimon.tui.look import Look
from tuimon.tui.view import View
from tuimon.tui.widgets.canvas import Canvas

#: Samples whose median is shown: a single odd step must not dance.
_WINDOW = 16
_PARTS = (("data wait", "data_s"), ("forward", "forward_s"), ("backward", "backward_s"),
          ("optimizer", "optimizer_s"))  # fmt: skip


class SystemLine(Canvas):
    """One line of figures."""

    SLOW = True

    def lines(self, width: int, height: int) -> list[Text]:
        """See `Canvas`."""
        return [system(self.view, width)]


def system(view: View, width: int) -> Text:
    """What does not fit is left out from the right."""
    look, history, last = view.look, view.session.history, view.session.last
    shares = _shares(history)
    parts = [_part(name, percent(shares.get(series)), look) for name, series in _PARTS]
    parts.append(_part("step", duration(_median(history, "step_s")), look))
    parts.append(_part("RSS", size(None if last is None else last.rss_bytes), look))
    if last is not None and last.cuda_bytes is not None:
        parts.append(_part("CUDA", size(last.cuda_bytes), look))
    every = ABSENT if last is None else ("each step" if last.every == 1 else f"every {last.every} steps")
    parts.append(_part("looks at", every, look))
    budget = None if view.session.hello is None else view.session.hello.budget_ratio
    if budget is not None:
        parts.append(_part("budget", percent(budget), look))
    line: Text = [Segment(" ", look.text)]
    for i, part in enumerate(parts):
        gap = Segment(f" {DOT} " if i else "", look.faint)
        if cells(line) + len(gap.text) + cells(part) > width:
            break
        line += [gap, *part]
    return line


class Keys(Canvas):
    """One line of what can be pressed; while a filter is typed, the filter."""

    def __init__(self, view: View, hints: tuple[tuple[str, str], ...], id: str | None = None) -> None:
        super().__init__(view, id=id)
        self._hints = hints
        #: What has been typed after "/"; None when nobody types.
        self.typed: str | None = None
        #: Why it is no regular expression.
        self.wrong: str | None = None

    def lines(self, width: int, height: int) -> list[Text]:
        """See `Canvas`."""
        look = self.view.bright
        if self.typed is not None:
            return [self._prompt(width)]
        filtered = self.view.filter
        text: Text = [Segment(" ", look.text)]
        if filtered is not None:
            text += [Segment("filter ", look.dim), Segment(f"/{filtered.pattern}/", look.accent),
                     Segment("  ", look.text)]  # fmt: skip
        for key, does in self._hints:
            hint = [Segment(key, look.key), Segment(f" {does}   ", look.dim)]
            if cells(text) + cells(hint) - 3 > width:
                continue
            text += hint
        return [text]

    def _prompt(self, width: int) -> Text:
        look = self.view.bright
        tail = self.wrong or "regular expression · enter keeps it, esc clears it"
        style = look.dim if self.wrong is None else look.bad
        return [Segment(" /", look.key), Segment(self.typed or "", look.strong), Segment("▏", look.accent),
                Segment(f"  {tail}", style)]  # fmt: skip


def _part(name: str, value: str, look: Look) -> Text:
    return [Segment(f"{name} ", look.dim), Segment(value, look.text if value != ABSENT else look.faint)]


def _shares(history: History) -> dict[str, float]:
    """Each part's share of a step, by medians. A part that was not measured has none."""
    seconds = {series: _median(history, series) for _, series in _PARTS}
    known = {series: value for series, value in seconds.items() if value is not None}
    # The four are the step; where a border was not seen only the step's own time can be divided by.
    total = sum(known.values()) if len(known) == len(_PARTS) else _median(history, "step_s")
    return {series: value / total for series, value in known.items()} if total else {}


def _median(history: History, name: str) -> float | None:
    present = history.scalar(name, _WINDOW).present
    return float(np.median(present.values)) if len(present) else None
