"""Trainings of another place: getting there, choosing one, following it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import click

from tuimon.attach.discovery import TrainingProcess
from tuimon.attach.elsewhere.listing import list_at, run_at
from tuimon.attach.elsewhere.place import Place
from tuimon.attach.elsewhere.remote import CommandTransport, attach_through
from tuimon.attach.errors import AttachError
from tuimon.attach.mailbox import Mailbox
from tuimon.cli.exits import FAILED, FINE, Failure
from tuimon.cli.following import Until, Write, follow_source
from tuimon.cli.list import table_lines
from tuimon.session.session import Session
from tuimon.wire.commands import Cadence, Subscribe

#: Places asked at the same time; asking is waiting.
_ASKED_AT_ONCE = 16


@contextmanager
def reached(
    place: Place, pid: int, options: Mapping[str, object] | None = None
) -> Iterator[CommandTransport]:
    """The way to the agent of that process, with its first connection made.

    `options` are for the agent that is brought in over there where there is none.

    Passwords and unknown host keys are asked for here, before there is a screen.

    Raises:
        Failure: there is no way, and why.
    """
    given = {name: value for name, value in (options or {}).items() if value is not None}
    transport = CommandTransport(place, pid, [f"--{name}={value}" for name, value in given.items()])
    tell = listener()
    if tell is not None:
        tell(f"connecting to {place.name} ...")
    try:
        transport.prepare(tell or _tell_the_essential, ask=tell is not None)
    except AttachError as error:
        raise Failure(str(error)) from None
    try:
        yield transport
    finally:
        transport.close()


def follow_there(
    transport: CommandTransport,
    write: Write,
    until: Until | None = None,
    cadence: Cadence | None = None,
    *,
    histograms: bool = False,
) -> int:
    """Follow it without a screen; see `follow_source`."""
    return follow_source(
        lambda deliver: attach_through(transport, deliver, Subscribe(histograms=histograms)),
        write,
        until,
        cadence=cadence,
        session=Session(clock=transport.now_s),
        mailbox=Mailbox(clock=transport.now_s),
    )


def choose(place: Place, verb: str) -> int:
    """The training of that place that the person chooses; its only one, if there is one.

    Raises:
        Failure: there is none, or no way to it.
        click.UsageError: there are several and nobody to ask. They are printed.
    """
    tell = listener()
    try:
        trainings = list_at(place, tell)
    except AttachError as error:
        raise Failure(str(error)) from None
    open_ones = [training for training in trainings if training.attachable]
    if tell is not None and len(open_ones) == 1:
        (only,) = open_ones
        tell(f"the only one on {place.name}: process {only.pid} ({only.name or ' '.join(only.command)[:60]})")
        return only.pid
    if trainings:
        print("\n".join(table_lines(trainings)))
    if not open_ones:
        raise Failure(
            f"no training on {place.name} that one can attach to; start one there, or see "
            f"`tuimon doctor {place.argument}`"
        )
    pids = [training.pid for training in open_ones]
    if tell is None:
        example = f"tuimon {verb} {place.target(pids[0])}"
        raise click.UsageError(
            f"which training of {place.name}? Name one, such as `{example}`.",
            click.get_current_context(silent=True),
        )
    return int(click.prompt("which PID", type=click.Choice([str(pid) for pid in pids]), err=True))


def list_places(places: Sequence[Place]) -> tuple[list[TrainingProcess], list[str]]:
    """The trainings of all places, asked at the same time, and a line for each that cannot tell.

    A single place may ask the person for a password; of several nobody could tell which one asks.
    """
    tell = listener() if len(places) == 1 else None

    def ask(place: Place) -> list[TrainingProcess] | str:
        try:
            return list_at(place, tell)
        except AttachError as error:
            return str(error)

    with ThreadPoolExecutor(_ASKED_AT_ONCE, "tuimon-list") as pool:
        answers = list(pool.map(ask, places))
    found = [training for answer in answers if not isinstance(answer, str) for training in answer]
    return found, [answer for answer in answers if isinstance(answer, str)]


def run_there(place: Place, *words: object) -> int:
    """Run a verb over there and print what it prints; its exit code.

    Raises:
        Failure: there is no way, no tuimon there, or it failed.
    """
    try:
        answer = run_at(place, [str(word) for word in words], listener())
        # `doctor` has an answer to print, whether or not one can attach.
        if answer.code not in (FINE, FAILED) or not answer.out.strip():
            own = [line for line in answer.said if line.startswith("tuimon: ")]
            if own and answer.code == FAILED:
                raise Failure(f"on {place.name}: {own[-1].removeprefix('tuimon: ')}")
            raise place.failure(answer.code, answer.said, answer.out)
    except AttachError as error:
        raise Failure(str(error)) from None
    print(answer.out.decode(errors="replace"), end="")
    return answer.code


def _tell_the_essential(line: str) -> None:
    """Without a terminal only what tuimon itself says over there: that it enters a process."""
    if line.startswith("tuimon: "):
        print(line.removeprefix("tuimon: "), file=sys.stderr)


def listener() -> Callable[[str], None] | None:
    """Tells a person at the terminal; None without one."""
    if sys.stdin.isatty() and sys.stderr.isatty():
        return lambda line: print(line, file=sys.stderr)
    return None
