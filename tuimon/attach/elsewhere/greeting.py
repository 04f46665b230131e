"""What a relay says before the agent's own words: the line where a stream of frames begins.

A login shell may print what it likes before it; whatever stands there is skipped.

    \\ntuimon-relay {"relay": 1, "tuimon": "0.1.0", "pid": 7, "started_ticks": 5, "time_s": 1.0}\\n
    \\ntuimon-relay {"relay": 1, "tuimon": "0.1.0", "error": {"kind": ..., "what": ..., "remedy": ...}}\\n
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from tuimon.attach.errors import AttachError

#: Raised when an old viewer would misread a new relay; additions do not count.
RELAY_VERSION = 1

_MARK = b"\ntuimon-relay "
_LINE = re.compile(rb"(?:^|\n)tuimon-relay (\{[^\n]*\})\r?\n")


@dataclass(frozen=True, slots=True)
class Greeting:
    """A relay's first words; after them come frames, or, with an error, nothing."""

    relay: int
    #: Version of tuimon on that side.
    tuimon: str
    #: The training's identity there: its pid and its start time in clock ticks since boot.
    pid: int | None = None
    started_ticks: int | None = None
    #: Unix time of that machine when it said this, seconds.
    time_s: float | None = None
    #: Why one cannot attach there: an error's kind, what happened, and what to do.
    kind: str | None = None
    what: str | None = None
    remedy: str | None = None


def welcome(pid: int, started_ticks: int, time_s: float, version: str) -> bytes:
    """The line before the frames of that process."""
    return _line(version, pid=pid, started_ticks=started_ticks, time_s=time_s)


def refusal(error: AttachError, version: str) -> bytes:
    """The line of a relay that finds no way to the agent."""
    told = {"kind": type(error).__name__, "what": error.what, "remedy": error.remedy}
    return _line(version, error=told)


def find_greeting(heard: bytes) -> tuple[Greeting, bytes] | None:
    """The greeting in what was heard so far, and the bytes after it; None while there is none."""
    for found in _LINE.finditer(heard):
        greeting = _parsed(found[1])
        if greeting is not None:
            return greeting, heard[found.end() :]
    return None


def _line(version: str, **fields: object) -> bytes:
    return _MARK + json.dumps({"relay": RELAY_VERSION, "tuimon": version, **fields}).encode() + b"\n"


def _parsed(text: bytes) -> Greeting | None:
    try:
        told: Any = json.loads(text)
    except ValueError:
        return None
    error = told.get("error", {})
    if type(told.get("relay")) is not int or not isinstance(error, dict):
        return None
    return Greeting(
        relay=told["relay"],
        tuimon=str(told.get("tuimon", "?")),
        pid=_number(told.get("pid"), int),
        started_ticks=_number(told.get("started_ticks"), int),
        time_s=_number(told.get("time_s"), int, float),
        kind=_text(error.get("kind")),
        what=_text(error.get("what")),
        remedy=_text(error.get("remedy")),
    )


def _number(value: Any, *kinds: type) -> Any:
    return value if isinstance(value, kinds) and not isinstance(value, bool) else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
