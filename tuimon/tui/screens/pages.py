"""What the help and the alerts page say."""

from __future__ import annotations

import json

from rich.segment import Segment
from rich.style import Style

from tuimon.records.alert import Alert, AlertState
from tuimon.tui.draw.alerts import words
from tuimon.tui.draw.numbers import number, whole
from tuimon.tui.draw.text import Text, ink, shorten, wrap
from tuimon.tui.glyphs import NONFINITE, SEVERITY, UNSEEN
from tuimon.tui.look import Look
from tuimon.tui.model.metric import METRICS
from tuimon.tui.view import View

_KEYS = (
    ("↑ ↓  j k", "another layer"),
    ("← →  h l", "an earlier or later moment; charts and layers show its values"),
    ("enter", "the layer's histograms and curves, larger; a folded block unfolds"),
    ("space  f", "fold or unfold the block; f for all of them"),
    ("/", "only layers whose name matches a regular expression"),
    ("t", "the whole run, or its recent past"),
    ("c", "the next chart"),
    ("y", "logarithmic loss, or not"),
    ("n", "the next alert"),
    ("e", "all alerts with their evidence, and what could not be judged"),
    ("o", "losses and their terms; which classes are asked for, and which the model answers"),
    ("esc", "back to the newest moment, to all layers, to the overview"),
    ("ctrl+l", "draw everything anew"),
    ("q", "leave; the training goes on"),
)
_SIGNS = (
    ("–", "not measured; never drawn as zero"),
    (NONFINITE, "NaN or infinite"),
    (UNSEEN, "no measurement in this column"),
    ("+7", "a folded block: the geometric mean of its 7 layers, for shares the mean"),
)


def help_page(view: View, width: int) -> list[Text]:
    """Keys, values, signs."""
    look = view.bright
    lines: list[Text] = _table("keys", list(_KEYS), look, width)
    values = [(metric.key, f"{metric.label}: {metric.meaning}") for metric in METRICS]
    lines += [[], *_table("values of the layers picture", values, look, width)]
    signs = [*_SIGNS, *((SEVERITY[s], f"{s.word} alert; in the picture: where it began") for s in SEVERITY)]
    lines += [[], *_table("signs", signs, look, width, look.text)]
    lines += [[], _heading("reading it", look)]
    reading = (
        "Rows stand in the order in which the layers run, time goes to the right, light is more. A column "
        "stands for the same steps in every row and in the charts beside; its value is the mean over them, "
        "of logarithms where the scale is one. Behind a curve is the spread of the values in each column."
    )
    return [*lines, *([ink(f"  {line}", look.text)] for line in wrap(reading, width - 2, 99))]


def alerts_page(view: View, width: int) -> list[Text]:
    """Every alert with all that is known of it, then where each rule stands, then the agent's notices."""
    look, session = view.bright, view.session
    lines: list[Text] = []
    for alert in (*session.alerts, *reversed(session.past_alerts)):
        lines += [*_alert(alert, look, width), []]
    if not lines:
        lines += [[Segment("no alert so far", look.text)], []]
    rules = [(words(rule), str(judgement)) for rule, judgement in session.judgements.items()]
    lines += _table("rules", rules or [("", "no step judged yet")], look, width, look.text)
    if session.notices:
        notices = [(f"step {whole(notice.step)}", notice.text) for notice in session.notices]
        lines += [[], *_table("the monitor in the training says", notices, look, width, look.dim)]
    if session.hello is not None:
        unseen = [(probe, why) for probe, why in session.hello.probes.items() if why != "on"]
        if unseen:
            lines += [[], *_table("not seen", unseen, look, width, look.text)]
    return lines


def _alert(alert: Alert, look: Look, width: int) -> list[Text]:
    style = look.severity(alert.severity)
    gone = alert.state is AlertState.RESOLVED
    when = f"resolved at step {whole(alert.step)}" if gone else f"since step {whole(alert.since_step)}"
    lines: list[Text] = [[
        Segment(f"{SEVERITY[alert.severity]} {alert.severity.word} ", look.dim if gone else style),
        ink(words(alert.rule), look.strong), Segment(f"  {when}", look.dim),
    ]]  # fmt: skip
    lines += ([ink(f"  {line}", look.text)] for line in wrap(alert.summary, width - 2, 9))
    if alert.where:
        more = f" and {len(alert.where) - 6} more" if len(alert.where) > 6 else ""
        named = ", ".join(alert.where[:6]) + more
        lines += _labelled("where", named, look, width)
    if alert.consequences:
        lines += _labelled("brings with it", ", ".join(map(words, alert.consequences)), look, width)
    for key, value in alert.evidence.items():
        lines += _labelled(words(key), _evidence(value), look, width)
    if alert.advice and not gone:
        lines += _labelled("try", alert.advice, look, width)
    return lines


def _evidence(value: object) -> str:
    if isinstance(value, float):
        return number(value, 4)
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _heading(text: str, look: Look) -> Text:
    return [Segment(text, look.title)]


def _labelled(label: str, text: str, look: Look, width: int) -> list[Text]:
    at = 18
    parts = wrap(text, width - at - 2, 12) or [""]
    first: Text = [ink(f"  {shorten(label, at - 1):<{at}}", look.dim), ink(parts[0], look.text)]
    return [first, *([ink(" " * (at + 2) + part, look.text)] for part in parts[1:])]


def _table(
    title: str, entries: list[tuple[str, str]], look: Look, width: int, style: Style | None = None
) -> list[Text]:
    at = min(24, max((len(key) for key, _ in entries), default=0)) + 2
    lines: list[Text] = [_heading(title, look)]
    for key, meaning in entries:
        parts = wrap(meaning, width - at - 2, 4) or [""]
        lines.append([ink(f"  {shorten(key, at - 2):<{at}}", style or look.key), ink(parts[0], look.text)])
        lines += [[ink(" " * (at + 2) + part, look.text)] for part in parts[1:]]
    return lines
