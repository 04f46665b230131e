"""Verbs of tuimon that run at another place and are read here: what trains there."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tuimon.attach.discovery import TrainingProcess
from tuimon.attach.elsewhere.command import CommandConnection, CommandEnded
from tuimon.attach.elsewhere.place import Place
from tuimon.attach.elsewhere.remote import CONNECT_S
from tuimon.attach.elsewhere.remote_errors import NoClient, NoiseThere, NoWayThere

#: Longest answer that is read, bytes.
_ANSWER_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """What a verb of tuimon that ran at another place left."""

    code: int
    out: bytes
    #: The last lines of its stderr, and of what leads there.
    said: tuple[str, ...] = ()


def list_at(place: Place, tell: Callable[[str], None] | None = None) -> list[TrainingProcess]:
    """The trainings of that place, as its own `tuimon list` finds them; `tell` as for `run_at`.

    Raises:
        AttachError: there is no way, or no tuimon there.
    """
    answer = run_at(place, ("list", "--json"), tell)
    if answer.code != 0:
        raise place.failure(answer.code, answer.said, answer.out)
    found = _array(answer.out)
    if found is None:
        raise NoiseThere(place.name, answer.out.decode(errors="replace").strip())
    return [_training(place, item) for item in found]


def run_at(place: Place, words: Sequence[str], tell: Callable[[str], None] | None = None) -> Answer:
    """Run a verb of tuimon at that place, to its end.

    Args:
        place: where.
        words: the verb and its arguments.
        tell: takes what the command that leads there says meanwhile, for the person at the
            terminal, whom it may ask; without it nobody is asked.

    Raises:
        AttachError: the way there cannot be tried, or does not end.
    """
    command_line = place.words(*words, ask=tell is not None)
    try:
        command = CommandConnection(command_line, terminal=tell is not None)
    except (FileNotFoundError, PermissionError):
        raise NoClient(place.name, command_line[0]) from None
    out = b""
    # A person may have to look for a password first.
    deadline_s = time.monotonic() + CONNECT_S if tell is None else None
    try:
        while chunk := command.recv_until(deadline_s, tell):
            out += chunk
            if len(out) > _ANSWER_BYTES:
                raise NoiseThere(place.name, out.decode(errors="replace"))
    except CommandEnded as ended:
        return Answer(ended.code, out, ended.said)
    except TimeoutError:
        raise NoWayThere(place.name, f"no answer within {CONNECT_S:g} s", place.attempt) from None
    finally:
        command.close()
    return Answer(0, out)


def _array(heard: bytes) -> list[dict[str, Any]] | None:
    """The JSON array in it; a login shell may have printed what it likes around it."""
    text, decoder = heard.decode(errors="replace"), json.JSONDecoder()
    at = text.find("[")
    while at >= 0:
        try:
            found, _ = decoder.raw_decode(text, at)
        except ValueError:
            found = None
        if isinstance(found, list) and all(isinstance(item, dict) and "pid" in item for item in found):
            return found
        at = text.find("[", at + 1)
    return None


def _training(place: Place, item: dict[str, Any]) -> TrainingProcess:
    """What it tells, as far as it is understood: it may be of another version."""

    def told(name: str, *kinds: type) -> Any:
        value = item.get(name)
        return value if isinstance(value, kinds) and not isinstance(value, bool) else None

    def words(name: str) -> tuple[str, ...]:
        return tuple(str(word) for word in told(name, list) or ())

    return TrainingProcess(
        pid=told("pid", int) or 0,
        user=told("user", str) or "?",
        command=words("command"),
        host=place.name,
        name=told("name", str),
        framework=told("framework", str),
        devices=words("devices"),
        step=told("step", int),
        rank=told("rank", int),
        world_size=told("world_size", int),
        launcher=told("launcher", int),
        attachable=item.get("attachable") is True,
        word=told("attach", str) or ("yes" if item.get("attachable") is True else "no"),
        reason=told("reason", str),
        enters=item.get("enters") is True,
    )
