"""Where each rule stands: judged healthy, firing, or not judged and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "suspect", "firing", "not judged"]


@dataclass(frozen=True, slots=True)
class Judgement:
    """One rule's standing after the newest sample."""

    #: "suspect": a finding that has not lasted long enough to be an alert, or is another's consequence.
    status: Status
    #: Why it was not judged, or what the finding follows from; None otherwise.
    reason: str | None = None

    def __str__(self) -> str:
        return self.status if self.reason is None else f"{self.status}: {self.reason}"
