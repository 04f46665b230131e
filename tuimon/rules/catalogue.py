"""Every rule there is."""

from __future__ import annotations

from tuimon.rules.rule import Rule

#: In causal order.
ALL_RULES: tuple[Rule, ...] = ()
