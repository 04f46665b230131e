"""What TARGET may be on the command line: a training here, or one of another place."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.shell_completion import CompletionItem

from tuimon.cli.exits import Failure

if TYPE_CHECKING:
    from tuimon.attach.elsewhere.place import Place

_F = TypeVar("_F", bound=Callable[..., Any])

_FORMS = "a process id, HOST:PID for one on another machine, or a recording"


@dataclass(frozen=True, slots=True)
class Target:
    """What a person named."""

    #: None: the person chooses from the place's list.
    pid: int | None
    #: None: this machine.
    place: Place | None = None
    #: A file, instead of a training that runs.
    recording: Path | None = None


def place_options(verb: _F) -> _F:
    """The options that lead to another place."""
    via = click.option(
        "--via",
        metavar="COMMAND",
        help="Reach the training through this command instead of ssh, such as 'kubectl exec -i POD --' or "
        "'docker exec -i NAME'. TARGET is then a bare process id of that side.",
    )
    remote_command = click.option(
        "--remote-command",
        metavar="COMMAND",
        envvar="TUIMON_REMOTE",
        help="What starts tuimon on the other side, such as /venv/bin/tuimon, where it is not found by "
        "itself. [env: TUIMON_REMOTE]",
    )
    return via(remote_command(verb))


def read_target(text: str | None, via: str | None, remote_command: str | None) -> Target:
    """What TARGET and the options that lead elsewhere name.

    Raises:
        click.UsageError: it names nothing known.
    """
    command = _words("--remote-command", remote_command)
    if via is not None:
        if text is not None and not _is_pid(text):
            raise _wrong(f"{text!r}: with --via, TARGET is a bare process id of the other side.")
        return Target(None if text is None else int(text), via_place(via, command))
    if text is None:
        raise _wrong(f"Missing argument 'TARGET': {_FORMS}.")
    if _is_pid(text):
        return Target(int(text))
    if os.path.exists(text) or os.sep in text:
        return Target(None, recording=Path(text))
    host, colon, pid = text.rpartition(":")
    if colon and _is_pid(pid) and not host.endswith(":"):
        return Target(int(pid), host_place(host, command))
    return Target(None, host_place(text, command))


def read_places(hosts: tuple[str, ...], via: str | None, remote_command: str | None) -> list[Place]:
    """The other places named, each once, in their order; none is this machine.

    Raises:
        click.UsageError: one of them cannot be a place.
    """
    command = _words("--remote-command", remote_command)
    places = [host_place(host, command) for host in hosts]
    if via is not None:
        places.append(via_place(via, command))
    return list(dict.fromkeys(places))


def host_place(host: str, command: tuple[str, ...] = ()) -> Place:
    """The place that ssh knows by that name.

    Raises:
        click.UsageError: it cannot be one.
    """
    from tuimon.attach.elsewhere.place import Place, is_host

    if not is_host(host) or host.isdigit():
        raise _wrong(
            f"{host!r} is no process id; write {_FORMS}. `tuimon list` shows the trainings that run."
        )
    return Place(host=host, command=command)


def via_place(via: str, command: tuple[str, ...] = ()) -> Place:
    """The place that this command leads to.

    Raises:
        click.UsageError: it is no command.
    """
    from tuimon.attach.elsewhere.place import Place

    words = _words("--via", via)
    if not words:
        raise _wrong("--via needs a command, such as 'docker exec -i NAME'.")
    return Place(via=words, command=command)


def complete_target(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The trainings that one can attach to, for the shell's tab key."""
    from tuimon.attach.discovery import list_trainings

    return [
        CompletionItem(str(training.pid), help=training.name)
        for training in list_trainings()
        if training.attachable and str(training.pid).startswith(incomplete)
    ]


def _refuse_file(text: str) -> None:
    if os.path.exists(text):
        raise Failure(
            f"{text} is a file, not a training that runs; `tuimon list` shows the process ids of those"
        )


def _is_pid(text: str) -> bool:
    return text.isascii() and text.isdigit() and int(text) > 0


def _words(option: str, text: str | None) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(text or ""))
    except ValueError as error:
        raise _wrong(f"{option}: {error} in {text!r}.") from None


def _wrong(message: str) -> click.UsageError:
    return click.UsageError(message, click.get_current_context(silent=True))
