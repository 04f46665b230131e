"""Whether the training can be heard at present."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["connecting", "live", "reconnecting", "ended"]


@dataclass(frozen=True, slots=True)
class ConnectionState:
    """The state of the one connection of a followed run."""

    status: Status
    #: Unix time at which this state began, seconds.
    since_s: float
    #: Why it is reconnecting or ended, or what is done before one can connect; None otherwise.
    reason: str | None = None
    #: When the next attempt is made, seconds after `since_s`; None unless reconnecting.
    retry_in_s: float | None = None
