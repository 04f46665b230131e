"""`tuimon explain`: the reasoning behind a rule."""

from __future__ import annotations

import shutil
import textwrap

import click
from click.shell_completion import CompletionItem

#: Longer lines are hard to read, however wide the terminal is.
_WIDTH = 88


def complete_rule(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Ids of rules that begin so, for the shell's tab key."""
    from tuimon.rules.catalogue import ALL_RULES

    return [CompletionItem(rule.id) for rule in ALL_RULES if rule.id.startswith(incomplete)]


@click.command(short_help="Explain how a rule judges.")
@click.argument("rule", required=False, shell_complete=complete_rule)
def explain(rule: str | None) -> int:
    """Explain how RULE judges, with its sources and what to try; without RULE, list the rules."""
    from tuimon.rules import catalogue

    if rule is None:
        width = max(len(known.id) for known in catalogue.ALL_RULES)
        for known in catalogue.ALL_RULES:
            print(f"{known.id:<{width}}  {known.severity.word:<8}  {_first_sentence(known.explain.meaning)}")
        return 0
    try:
        found = catalogue.rule_named(rule)
    except KeyError as error:
        raise click.UsageError(f"{error.args[0]}.") from None
    print(_wrapped(catalogue.explain(found)))
    return 0


def _wrapped(text: str) -> str:
    width = min(_WIDTH, shutil.get_terminal_size().columns)
    lines = []
    for line in text.splitlines():
        indent = "    " if line.startswith("  - ") else ""
        lines += textwrap.wrap(line, width, subsequent_indent=indent, break_on_hyphens=False) or [""]
    return "\n".join(lines)


def _first_sentence(text: str) -> str:
    return text.split(". ")[0].rstrip(".") + "."
