"""What the page on losses says: the terms, and what the model answers beside what was asked."""

from __future__ import annotations

from collections.abc import Sequence

from rich.segment import Segment

from tuimon.records.criterion import ClassCounts, Criterion
from tuimon.session.scalars import loss_words
from tuimon.tui.draw.numbers import ABSENT, count, number, percent, whole
from tuimon.tui.draw.text import Text, ink, shorten, wrap
from tuimon.tui.glyphs import BARS
from tuimon.tui.look import Look
from tuimon.tui.view import View

#: Classes that are listed, those that are asked for or answered most.
_CLASSES = 16
#: Columns of a term's name at most, of a class's number, of a share, and of a bar at most.
_NAME, _NUMBER, _SHARE, _BAR = 34, 8, 8, 30


def losses_page(view: View, width: int) -> list[Text]:
    """Terms of the newest step and of the newest validation pass, then labels and predictions of each."""
    look, last, evaluation = view.bright, view.session.last, view.session.history.evaluation
    lines: list[Text] = []
    if last is not None:
        made = f", {words}" if (words := loss_words(last)) else ""
        lines += [_heading(f"step {whole(last.step)}", f"loss {number(last.loss, 4)}{made}", look)]
        lines += _terms(last.criteria, look, width) or _unseen(view, width)
        lines += [[]]
    if evaluation is not None:
        batches = f"{whole(evaluation.batches)} batch{'' if evaluation.batches == 1 else 'es'}"
        lines += [_heading(f"validation after step {whole(evaluation.step)}", batches, look)]
        lines += [*_terms(evaluation.criteria, look, width), []]
    for title, criteria in (
        ("labels and answers of the validation", () if evaluation is None else evaluation.criteria),
        ("labels and answers of the step", () if last is None else last.criteria),
    ):
        for one in criteria:
            lines += _classes(f"{title}, {one.name}", one, look, width)
    return lines


def _unseen(view: View, width: int) -> list[Text]:
    """Why there are no terms."""
    hello = view.session.hello
    why = "on" if hello is None else hello.probes.get("criteria", "on")
    said = "no loss function was called in this step" if why == "on" else why
    return [[ink(f"  {line}", view.bright.dim)] for line in wrap(said, width - 2, 3)]


def _heading(title: str, more: str, look: Look) -> Text:
    return [Segment(title, look.title), ink(f"  {more}" if more else "", look.dim)]


def _terms(criteria: Sequence[Criterion], look: Look, width: int) -> list[Text]:
    at = min(_NAME, max((len(one.name) for one in criteria), default=0)) + 2
    lines: list[Text] = []
    for one in criteria:
        facts = [] if one.accuracy is None else [f"accuracy {percent(one.accuracy)} of {count(one.judged)}"]
        if one.classes is not None:
            facts.append(f"{whole(one.classes)} classes")
        facts.append(f"{one.reduction} of {count(one.n)} elements")
        if one.calls > 1:
            facts.append(f"{whole(one.calls)} calls")
        told = shorten(", ".join(facts), width - at - 12)
        name, value = f"  {shorten(one.name, at - 2):<{at}}", f"{number(one.value, 4):<10}"
        lines.append([ink(name, look.text), Segment(value, look.strong), Segment(told, look.dim)])
    return lines


def _classes(title: str, one: Criterion, look: Look, width: int) -> list[Text]:
    """A line a class: its share of the labels, and of the answers, with a bar of each."""
    if one.labels is None or one.predictions is None:
        return []
    asked, answered = _shares(one.labels), _shares(one.predictions)
    listed = sorted({*asked, *answered}, key=lambda c: -max(asked.get(c, 0.0), answered.get(c, 0.0)))
    bar = max(4, min(_BAR, (width - _NUMBER - 2 * _SHARE - 4) // 2))
    head = f"  {'class':<{_NUMBER}}{'labels':<{_SHARE + bar}}answers"
    lines: list[Text] = [_heading(title, "", look), [Segment(head, look.dim)]]
    columns = (asked, one.labels.rest, look.accent), (answered, one.predictions.rest, look.second)
    greatest = max((*asked.values(), *answered.values()), default=1.0)
    for label in sorted(listed[:_CLASSES]):
        line: Text = [Segment(f"  {label:<{_NUMBER}}", look.text)]
        for shares, rest, style in columns:
            # One of very many classes that is not told is none of the frequent ones.
            share = shares.get(label, None if rest else 0.0)
            filled = round((share or 0.0) / greatest * (bar - 2))
            line += [
                Segment(f"{ABSENT if share is None else percent(share):<{_SHARE}}", look.text),
                Segment(f"{BARS[-1] * filled:<{bar}}", style),
            ]
        lines.append(line)
    if len(listed) > _CLASSES or one.labels.rest or one.predictions.rest:
        lines.append([Segment("  and others, less often", look.dim)])
    return [*lines, []]


def _shares(counts: ClassCounts) -> dict[int, float]:
    n = counts.n
    return {c: occurred / n for c, occurred in zip(counts.classes, counts.counts, strict=True)} if n else {}
