"""What trains at another place: `tuimon list --json`, run there and read here."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from tuimon.attach.command import CommandConnection, CommandEnded
from tuimon.attach.discovery import TrainingProcess
from tuimon.attach.place import Place
from tuimon.attach.remote import CONNECT_S
from tuimon.attach.remote_errors import NoClient, NoiseThere, NoWayThere

#: Longest list that is read, bytes.
_LIST_BYTES = 16 * 1024 * 1024


def list_at(place: Place, tell: Callable[[str], None] | None = None) -> list[TrainingProcess]:
    """The trainings of that place, as its own `tuimon list` finds them.

    Args:
        place: where.
        tell: takes what the command that leads there says meanwhile, for the person at the
            terminal, whom it may ask; without it nobody is asked.

    Raises:
        AttachError: there is no way, or no tuimon there.
    """
    words = place.words("list", "--json", ask=tell is not None)
    try:
        command = CommandConnection(words, terminal=tell is not None)
    except (FileNotFoundError, PermissionError):
        raise NoClient(place.name, words[0]) from None
    try:
        heard = _heard(place, command, tell)
    finally:
        command.close()
    found = _array(heard)
    if found is None:
        raise NoiseThere(place.name, heard.decode(errors="replace").strip())
    return [_training(place, item) for item in found]


def _heard(place: Place, command: CommandConnection, tell: Callable[[str], None] | None) -> bytes:
    """All that the command prints."""
    heard = b""
    # A person may have to look for a password first.
    deadline_s = time.monotonic() + CONNECT_S if tell is None else None
    try:
        while chunk := command.recv_until(deadline_s, tell):
            heard += chunk
            if len(heard) > _LIST_BYTES:
                raise NoiseThere(place.name, heard.decode(errors="replace"))
    except CommandEnded as ended:
        raise place.failure(ended.code, ended.said, heard) from None
    except TimeoutError:
        raise NoWayThere(place.name, f"no answer within {CONNECT_S:g} s", place.attempt) from None
    return heard


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
        attachable=item.get("attachable") is True,
        reason=told("reason", str),
        enters=item.get("enters") is True,
    )
