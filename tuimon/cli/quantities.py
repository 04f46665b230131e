"""Values with a unit on the command line."""

from __future__ import annotations

import re

import click

_UNITS_S = {"": 1.0, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def duration_s(text: str) -> float:
    """Seconds, above 0, from a time such as 30s, 5m or 1.5h; without a unit it is in seconds.

    Raises:
        click.BadParameter: it is no such time.
    """
    found = re.fullmatch(r"([0-9]+\.?[0-9]*|\.[0-9]+)\s*([a-z]*)", text.strip())
    if found is None or found[2] not in _UNITS_S or float(found[1]) == 0.0:
        raise click.BadParameter(f"{text!r} is no duration; write one such as 30s, 5m or 1.5h.")
    return float(found[1]) * _UNITS_S[found[2]]


def share_ratio(text: str) -> float:
    """A ratio in (0, 1] from a share such as 1% or 0.01.

    Raises:
        click.BadParameter: it is no such share.
    """
    number, percent = (text.strip()[:-1], 100.0) if text.strip().endswith("%") else (text, 1.0)
    try:
        ratio = float(number) / percent
    except ValueError:
        ratio = 0.0
    if not 0.0 < ratio <= 1.0:
        raise click.BadParameter(f"{text!r} is no share of the time; write one such as 1% or 0.01.")
    return ratio
