"""Alerts in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.segment import Segment

from tuimon.records.alert import Alert, Severity
from tuimon.rules.judgement import Judgement
from tuimon.tui.draw.numbers import whole
from tuimon.tui.draw.text import Text, beside, cells, ink, shorten, shorten_name, wrap
from tuimon.tui.glyphs import CURSOR, DOT, SEVERITY, WELL
from tuimon.tui.look import Look

#: Lines of summary, and of advice, that an opened alert has at most.
_SUMMARY, _ADVICE = 3, 4
#: Columns below which the end of a layer's name tells nothing.
_TELLING = 12


def words(rule: str) -> str:
    """A rule id as people say it."""
    return rule.replace("_", " ")


def tally(alerts: Sequence[Alert], look: Look) -> Text:
    """ "1 critical · 2 info", the worst first; nothing without alerts."""
    text: Text = []
    for severity in sorted(Severity, reverse=True):
        n = sum(alert.severity is severity for alert in alerts)
        if n:
            text += [Segment(f" {DOT} ", look.faint)] if text else []
            text.append(Segment(f"{n} {severity.word}", look.severity(severity)))
    return text


def alert_list(
    alerts: Sequence[Alert], opened: Alert | None, judgements: Mapping[str, Judgement], width: int,
    height: int, look: Look,
) -> list[Text]:  # fmt: skip
    """At most `height` lines: the opened alert with its advice, one line for each of the others."""
    if not alerts:
        return _well(judgements, width, height, look)
    heads = [_head(alert, alert is opened and len(alerts) > 1, width, look) for alert in alerts]
    # The verdicts survive when there is little room: one line each, then the words.
    room = height - min(len(heads), height)
    lines: list[Text] = []
    for alert, (head, rest) in zip(alerts, heads, strict=True):
        lines.append(head)
        if alert is opened:
            lines += _body(alert, rest, width, room, look)
    if len(lines) < height:
        lines += _abstentions(judgements, width, height - len(lines), look)
    if len(lines) > height:
        more = len(lines) - height + 1
        lines = [*lines[: height - 1], [Segment(f"  and {more} more: n, or e for all of them", look.dim)]]
    return lines


def _head(alert: Alert, opened: bool, width: int, look: Look) -> tuple[Text, str]:
    """ "✖ critical  dead neurons  blocks.7.mlp.act      since step 11 940", and what had no room there."""
    left: Text = [
        *([Segment(f"{CURSOR} ", look.key)] if opened else []),
        Segment(f"{SEVERITY[alert.severity]} {alert.severity.word} ", look.severity(alert.severity)),
        ink(words(alert.rule), look.strong),
    ]
    name = alert.where[0] if alert.where else ""
    since = f"since step {whole(alert.since_step)}"
    room = width - cells(left) - 1
    if room < len(since):
        return left, f"{name} {DOT} {since}" if name else since
    right = [Segment(since, look.dim)]
    room -= len(since) + 2
    if name and room < min(len(name), _TELLING):
        return beside(left, right, width, look.text), name
    shown = [Segment("  ", look.text), ink(shorten_name(name, room), look.text)] if name else []
    return beside([*left, *shown], right, width, look.text), ""


def _body(alert: Alert, rest: str, width: int, room: int, look: Look) -> list[Text]:
    """What the head left out, summary, advice, and what follows from it, as far as there is room."""
    lines: list[Text] = []
    if rest and room > 1:
        lines.append([ink(f"  {shorten_name(rest, width - 2)}", look.text)])
    lines += [
        [Segment("  ", look.text), ink(line, look.text)]
        for line in wrap(alert.summary, width - 2, min(room - len(lines), _SUMMARY))
    ]
    if alert.consequences and len(lines) < room - 1:
        follows = shorten("brings with it " + ", ".join(map(words, alert.consequences)), width - 2)
        lines.append([Segment("  ", look.text), ink(follows, look.dim)])
    advice = wrap(alert.advice, width - 4, min(room - len(lines), _ADVICE))
    for i, line in enumerate(advice):
        lead = Segment("→ " if i == 0 else "  ", look.key)
        lines.append([Segment("  ", look.text), lead, ink(line, look.text)])
    return lines


def _well(judgements: Mapping[str, Judgement], width: int, height: int, look: Look) -> list[Text]:
    judged = [j for j in judgements.values() if j.status != "not judged"]
    if not judged:
        reasons = {j.reason for j in judgements.values()}
        if len(reasons) <= 1:
            why = next(iter(reasons), None) or "no step observed yet"
            return [[ink(shorten(f"nothing judged: {why}", width), look.dim)]]
        first = [Segment("not judged yet", look.dim)]
    else:
        rules = f"{len(judged)} rule{'s' if len(judged) > 1 else ''}"
        if any(j.status == "suspect" for j in judged):
            first = [Segment("nothing certain", look.text),
                     Segment(f"  {rules} watching, one looks closer", look.dim)]  # fmt: skip
        else:
            first = [Segment(f"{WELL} ", look.good), Segment("nothing wrong found", look.text),
                     Segment(f"  by {rules}", look.dim)]  # fmt: skip
    return [first, *_abstentions(judgements, width, height - 1, look)]


def _abstentions(judgements: Mapping[str, Judgement], width: int, room: int, look: Look) -> list[Text]:
    """What could not be judged, and why: one discreet line each, after a blank one."""
    silent = [(rule, j) for rule, j in judgements.items() if j.status == "not judged"]
    if not silent or room < 2:
        return []
    lines: list[Text] = [[]]
    for rule, judgement in silent[: room - 1]:
        reason = f": {judgement.reason}" if judgement.reason else ""
        lines.append([ink(shorten(f"not judged  {words(rule)}{reason}", width), look.faint)])
    return lines
