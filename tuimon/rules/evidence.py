"""What an alert shows for itself: a formula with the numbers in it, and what is normal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

#: A likely cause, and what would confirm it.
Hypothesis = tuple[str, str]

#: Names that an alert lists at most; the evidence says how many there are.
MOST_NAMES = 8


def evidence(
    *,
    formula: str,
    numbers: Mapping[str, object],
    window: Sequence[int],
    normal: str,
    series: Sequence[str],
    hypotheses: Sequence[Hypothesis],
) -> dict[str, object]:
    """The evidence of a finding as JSON values.

    `window` is the first and the last step looked at; `series` are names that the history can plot.
    """
    return {
        "formula": formula,
        "numbers": {name: _plain(value) for name, value in numbers.items()},
        "window": [int(step) for step in window],
        "normal": normal,
        "series": list(series),
        "hypotheses": [{"cause": cause, "confirm": confirm} for cause, confirm in hypotheses],
    }


def number(value: float | None) -> str:
    """A number as summaries print it: two or three digits, "–" when not measured."""
    if value is None:
        return "–"
    if not math.isfinite(value):
        return str(value)
    size = abs(value)
    return f"{value:.1e}" if value and not 1e-2 <= size < 1e4 else f"{value:.3g}"


def _plain(value: object) -> object:
    if isinstance(value, bool | str) or value is None:
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, Sequence):
        return [_plain(inner) for inner in value]
    if hasattr(value, "item"):
        value = value.item()
    # Six digits: what is shown is judged by eye, and a line stays readable.
    return float(f"{value:.6g}") if isinstance(value, float) else value
