"""Every rule there is, and how it reasons."""

from __future__ import annotations

from tuimon.rules.dead_neurons import DEAD_NEURONS
from tuimon.rules.exploding_gradient import EXPLODING_GRADIENT
from tuimon.rules.learning_rate import LR_TOO_HIGH
from tuimon.rules.nonfinite import NONFINITE
from tuimon.rules.rule import Rule
from tuimon.rules.vanishing_gradient import VANISHING_GRADIENT

#: In causal order of their stages.
ALL_RULES: tuple[Rule, ...] = (NONFINITE, DEAD_NEURONS, VANISHING_GRADIENT, EXPLODING_GRADIENT, LR_TOO_HIGH)


def rule_named(name: str) -> Rule:
    """The rule of that id.

    Raises:
        KeyError: there is none; the message lists those there are.
    """
    for rule in ALL_RULES:
        if rule.id == name:
            return rule
    raise KeyError(f"no rule is called {name!r}; there are {', '.join(rule.id for rule in ALL_RULES)}")


def explain(rule: Rule) -> str:
    """The rule's explanation as plain text, one paragraph a heading."""
    text = rule.explain
    parts = [
        f"{rule.id} ({rule.severity.word})",
        text.meaning,
        f"How it is judged: {text.formula}",
        f"It fires after {rule.patience} observed steps in a row, and is over after {rule.clear_patience} "
        f"without it. It needs: {', '.join(rule.needs) or 'nothing but what is observed'}.",
        "Try:\n" + "\n".join(f"  - {item}" for item in text.try_next),
        "Sources:\n" + "\n".join(f"  - {item}" for item in text.sources),
    ]
    return "\n\n".join(parts)
