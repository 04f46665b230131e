"""One line between header and picture when the training is not heard: what happened, what is being done."""

from __future__ import annotations

from rich.segment import Segment

from tuimon.tui.draw.numbers import age, whole
from tuimon.tui.draw.text import Text, ink, shorten
from tuimon.tui.glyphs import CONNECTING, DOT, ENDED, LIVE, RECONNECTING
from tuimon.tui.view import View
from tuimon.tui.widgets.canvas import Canvas


class Banner(Canvas):
    """Shown only when there is something to say."""

    def lines(self, width: int, height: int) -> list[Text]:
        """See `Canvas`."""
        return [banner(self.view, width)]


def needed(view: View) -> bool:
    """Whether there is something to say."""
    connection = view.session.connection
    return (
        connection.status in ("reconnecting", "ended")
        or (connection.status == "connecting" and connection.reason is not None)
        or view.session.silence() is not None
    )


def banner(view: View, width: int) -> Text:
    """What happened, since when, and what happens next."""
    look = view.bright
    connection, last = view.session.connection, view.session.last
    silence = view.session.silence()
    if silence is not None:
        tail = f" {DOT} `tuimon doctor {view.target}` shows where"
        words = shorten(silence.in_words(), max(8, width - len(tail) - 5))
        return [Segment(f" {LIVE} ", look.warn), ink(words, look.text), ink(tail, look.dim)]
    reason = connection.reason or "no reason given"
    if connection.status == "connecting":
        return [Segment(f" {CONNECTING} ", look.strong), ink(shorten(reason, max(8, width - 4)), look.text)]
    if connection.status == "ended":
        at = "" if last is None else f" at step {whole(last.step)}"
        tail = f" {DOT} this is the last picture{at}" if last is not None else ""
        reason = shorten(reason, max(8, width - len(tail) - 12))
        return [Segment(f" {ENDED} ended ", look.strong), ink(reason, look.text), Segment(tail, look.dim)]
    tail = f" {DOT} trying again"
    if last is not None:
        tail += f" {DOT} the picture is {age(max(0.0, view.clock() - last.time_s))} old"
    reason = shorten(reason, max(8, width - len(tail) - 19))
    return [
        Segment(f" {RECONNECTING} reconnecting: ", look.warn),
        ink(reason, look.text),
        Segment(tail, look.dim),
    ]  # fmt: skip
