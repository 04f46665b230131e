"""What a source tells: how its connection fares, and the records that came over it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from tuimon.records.record import Record


@dataclass(frozen=True, slots=True)
class Entering:
    """The training is being entered, before there can be a connection."""

    #: What happens, for the person.
    told: str


@dataclass(frozen=True, slots=True)
class Connected:
    """The agent answered; records follow."""


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The connection broke while the training seems to live on."""

    #: What happened, for the person.
    reason: str
    #: When the next attempt is made, seconds from now.
    retry_in_s: float


@dataclass(frozen=True, slots=True)
class Ended:
    """Nothing more will come."""

    reason: str


Event: TypeAlias = Entering | Connected | Disconnected | Ended | Record
