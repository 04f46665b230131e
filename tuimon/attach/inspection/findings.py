"""What was looked at to tell whether one can attach, and how it stands: the lines of `tuimon doctor`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["ok", "no", "note"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    name: str
    #: "no": it stands in the way; "note": good to know, and in nobody's way.
    verdict: Verdict
    what: str
    #: What to do about it; None where there is nothing to be done.
    remedy: str | None = None


def clear(findings: Iterable[Finding]) -> bool:
    """Whether nothing stands in the way."""
    return all(finding.verdict != "no" for finding in findings)
