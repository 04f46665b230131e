"""What a viewer may ask of an agent: the closed list, and nothing else (promise P7)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from tuimon.wire.envelope import pack, unpack
from tuimon.wire.errors import BadFrame

#: Longest payload that an agent accepts from a viewer, bytes; commands are some 80.
MAX_COMMAND_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Begin: the first command of every connection."""

    #: Whether samples carry histograms; without them they are a third of the size.
    histograms: bool = True
    #: Whether the bounded past comes first. Without it: the newest layout and the newest sample,
    #: if there are any, then what happens from now on.
    history: bool = True


@dataclass(frozen=True, slots=True)
class Cadence:
    """How often to look, for all viewers; None leaves that part as it is."""

    #: Steps between samples, at least 1; overrides the budget.
    every: int | None = None
    #: Share of step time to use, above 0 and at most 1; lets the budget decide again.
    budget_ratio: float | None = None

    def __post_init__(self) -> None:
        if self.every is not None and self.every < 1:
            raise ValueError(f"a cadence of every {self.every} steps; it must be 1 or more")
        if self.budget_ratio is not None and not 0.0 < self.budget_ratio <= 1.0:
            raise ValueError(f"a budget of {self.budget_ratio}; it must lie in (0, 1]")
        if self.every is not None and self.budget_ratio is not None:
            raise ValueError("a fixed cadence and a budget exclude each other")


#: Pairs of blocks in a measurement, if not said: 20 seconds and more.
PAIRS, MOST_PAIRS = 40, 1000
#: Longest token, characters.
MOST_TOKEN = 64


@dataclass(frozen=True, slots=True)
class Measure(Cadence):
    """A cadence, and then: compare steps that are watched so with steps that are not, in turns."""

    #: Pairs of blocks to compare.
    pairs: int = PAIRS
    #: Comes back in the `Trial`s, so that who asked knows them from earlier ones.
    token: str = ""

    def __post_init__(self) -> None:
        Cadence.__post_init__(self)
        if not 1 <= self.pairs <= MOST_PAIRS:
            raise ValueError(f"a measurement of {self.pairs} pairs; it must be 1 to {MOST_PAIRS}")
        if len(self.token) > MOST_TOKEN:
            raise ValueError(f"a token of {len(self.token)} characters; it must have {MOST_TOKEN} at most")


@dataclass(frozen=True, slots=True)
class Detach:
    """Leave the training: remove every hook, close the socket, end the thread."""


Command: TypeAlias = Subscribe | Cadence | Measure | Detach

_TYPES: dict[str, type[Any]] = {
    "subscribe": Subscribe,
    "cadence": Cadence,
    "measure": Measure,
    "detach": Detach,
}
_NAMES = {cls: name for name, cls in _TYPES.items()}


def encode_command(command: Command) -> bytes:
    """A whole frame, length prefix included."""
    return pack(
        _NAMES[type(command)], {f.name: getattr(command, f.name) for f in dataclasses.fields(command)}
    )


def decode_command(payload: bytes) -> Command | None:
    """The command of one payload, its values checked; None for one this version does not know.

    Raises:
        BadFrame: the payload is no command, or asks for something impossible.
        WrongVersion: it was written by another version of the wire.
    """
    envelope = unpack(payload)
    match envelope.type:
        case "subscribe":
            return Subscribe(
                histograms=_flag(envelope.fields.get("histograms", True)),
                history=_flag(envelope.fields.get("history", True)),
            )
        case "cadence":
            return _cadence(envelope.fields)
        case "measure":
            return _measure(envelope.fields)
        case "detach":
            return Detach()
        case _:
            return None


def _cadence(fields: Mapping[str, Any]) -> Cadence:
    try:
        return Cadence(_whole(fields.get("every")), _number(fields.get("budget_ratio")))
    except ValueError as error:
        raise BadFrame(str(error)) from None


def _measure(fields: Mapping[str, Any]) -> Measure:
    asked, pairs, token = _cadence(fields), _whole(fields.get("pairs")), fields.get("token", "")
    if not isinstance(token, str):
        raise BadFrame(f"{token!r:.40} where text belongs")
    try:
        return Measure(asked.every, asked.budget_ratio, PAIRS if pairs is None else pairs, token)
    except ValueError as error:
        raise BadFrame(str(error)) from None


def _whole(value: object) -> int | None:
    number = _number(value)
    if number is not None and not isinstance(number, int):
        raise BadFrame(f"{value!r:.40} where a whole number belongs")
    return number


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise BadFrame(f"{value!r:.40} where true or false belongs")
    return value


def _number(value: object) -> int | float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadFrame(f"{value!r:.40} where a number belongs")
    return value
