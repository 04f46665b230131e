"""The upper edge: what is trained, how far it is, whether it is heard, what watching costs."""

from __future__ import annotations

from collections.abc import Sequence

from rich.segment import Segment

from tuimon.records.hello import Hello
from tuimon.session.connection import ConnectionState
from tuimon.session.measured import interval_words, share
from tuimon.session.session import Session
from tuimon.tui.draw.numbers import age, count, pace, percent, whole
from tuimon.tui.draw.text import Text, cells, ink, shorten
from tuimon.tui.glyphs import CONNECTING, DOT, ENDED, LIVE, RECONNECTING
from tuimon.tui.look import Look
from tuimon.tui.view import View
from tuimon.tui.widgets.canvas import Canvas

_DTYPES = {"float32": "fp32", "float64": "fp64", "float16": "fp16", "bfloat16": "bf16"}
#: A part of a line, and how soon it is left out where room is short: the greatest first.
Part = tuple[int, Text]


class Header(Canvas):
    """One line."""

    def lines(self, width: int, height: int) -> list[Text]:
        """See `Canvas`."""
        return [header(self.view, width)]


def header(view: View, width: int) -> Text:
    """Who, where, how far on the left; state and cost on the right."""
    session, look = view.session, view.look
    last = session.last
    left: list[Part] = [(0, [Segment("tuimon", look.key)]), *_who(session.hello, view.target, look)]
    if last is not None:
        left.append((1, [Segment("step ", look.dim), Segment(whole(last.step), look.strong)]))
        left.append((3, [Segment(pace(last.step_s), look.text)]))
    right: list[Part] = [(0, state(session.connection, view.silence_s(), view.bright))]
    right += _cost(session, look)
    return _assemble(left, right, width, look)


def _cost(session: Session, look: Look) -> list[Part]:
    """What watching costs: as the agent adds it up or, better, as it was measured."""
    trial, last = session.trial, session.last
    if trial is not None and not trial.done and session.connection.status == "live":
        return [(4, [Segment("measuring ", look.dim), Segment(f"{trial.pairs}/{trial.wanted}", look.text)])]
    if trial is not None and trial.ratio is not None:
        cost = f"{share(trial.ratio)} %"
        parts: list[Part] = [(4, [Segment("watching costs ", look.dim), Segment(cost, look.text)])]
        if between := interval_words(trial):
            parts.append((7, [Segment(f"measured {between}", look.dim)]))
        return parts
    if last is None:
        return []
    return [(4, [Segment("watching costs ", look.dim), Segment(percent(last.overhead_ratio), look.text)])]


def state(connection: ConnectionState, silence_s: float | None, look: Look) -> Text:
    """Glyph and word of the connection's state."""
    if connection.status == "live":
        if silence_s is not None:
            return [Segment(f"{LIVE} live", look.warn), Segment(f", silent for {age(silence_s)}", look.warn)]
        return [Segment(f"{LIVE} live", look.good)]
    glyph, style = {
        "connecting": (CONNECTING, look.dim),
        "reconnecting": (RECONNECTING, look.warn),
        "ended": (ENDED, look.text),
    }[connection.status]
    return [Segment(f"{glyph} {connection.status}", style)]


def _who(hello: Hello | None, target: str, look: Look) -> list[Part]:
    if hello is None:
        return [(1, [ink(target, look.text)])]
    name = shorten(hello.name, 32)
    place = f"pid {hello.pid} @ {shorten(hello.host, 20)}"
    dtype = _DTYPES.get(hello.dtypes[0], hello.dtypes[0]) if hello.dtypes else ""
    devices = f" {hello.devices[0]}" if hello.devices else ""
    more = f" +{len(hello.devices) - 1}" if len(hello.devices) > 1 else ""
    ranks = f" ×{hello.world_size}" if hello.world_size is not None and hello.world_size > 1 else ""
    return [
        (1, [ink(name, look.strong)]),
        (5, [ink(place, look.dim)]),
        (6, [ink(f"{count(hello.parameters)} {dtype}{devices}{more}{ranks}", look.text)]),
    ]


def _assemble(left: Sequence[Part], right: Sequence[Part], width: int, look: Look) -> Text:
    left, right = list(left), list(right)
    while True:
        a, b = _joined(left, look), _joined(right, look)
        gap = width - 2 - cells(a) - cells(b)
        least = max((part[0] for part in (*left, *right)), default=0)
        if gap >= 2 or least <= 1:
            break
        left = [part for part in left if part[0] < least]
        right = [part for part in right if part[0] < least]
    return [Segment(" ", look.text), *a, Segment(" " * max(1, gap), look.text), *b, Segment(" ", look.text)]


def _joined(parts: Sequence[Part], look: Look) -> Text:
    text: Text = []
    for _, part in parts:
        if text:
            text.append(Segment(f" {DOT} ", look.faint))
        text.extend(part)
    return text
