"""`tuimon record`: a run without a screen, as lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tuimon.cli.exits import ReaderGone
from tuimon.cli.options import (
    activations_option,
    asked,
    budget_option,
    every_option,
    measure_option,
    token_of,
)
from tuimon.cli.quantities import duration_s
from tuimon.cli.target import complete_target, place_options, read_target

if TYPE_CHECKING:
    from tuimon.cli.following import Write
    from tuimon.session.change import Change
    from tuimon.session.session import Session

#: The words of `Severity`, least severe first; the command line offers them without importing it.
LEVELS = ("info", "warning", "critical")


@click.command(short_help="Print what a training does, line by line.")
@click.argument("target", required=False, shell_complete=complete_target)
@place_options
@click.option(
    "--for", "for_s", type=duration_s, metavar="TIME", help="Stop after this time, such as 30s or 5m."
)
@click.option(
    "--steps",
    type=click.IntRange(min=1),
    metavar="N",
    help="Stop after N observed steps, the past that the training remembers included.",
)
@every_option
@budget_option
@measure_option
@activations_option
@click.option(
    "-o", "output", type=click.Path(), metavar="FILE", help="Record into FILE, too: for `tuimon replay`."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@click.option("--tensors", is_flag=True, help="With --json: the numbers of every tensor, too.")
@click.option(
    "--fail-on",
    type=click.Choice(LEVELS),
    help="Stop with exit code 3 as soon as an alert of this level or above fires.",
)
def record(
    target: str | None,
    via: str | None,
    remote_command: str | None,
    for_s: float | None,
    steps: int | None,
    every: int | None,
    budget: float | None,
    measure: bool,
    activations: str,
    output: str | None,
    as_json: bool,
    tensors: bool,
    fail_on: str | None,
) -> int:
    """Follow the training TARGET (a process id, HOST:PID or a recording) and print what is observed,
    line by line.

    What the training remembers from before comes first. Ends with the training, with one of the limits,
    with the result of --measure, or with Ctrl-C; the last line says what fired. A training that tuimon is
    not inside yet is entered: it pauses for a moment, and tuimon leaves it again some time after the last
    viewer.
    """
    if tensors and not as_json:
        raise click.UsageError("--tensors needs --json.")
    cadence = asked(every, budget, measure)
    named = read_target(target, via, remote_command)

    from tuimon.cli.following import Until, follow_process
    from tuimon.records.alert import Severity

    write, kept = json_writer(tensors) if as_json else text_writer(), None
    if output is not None:
        from tuimon.cli.recordfile import RecordFile

        kept = RecordFile(output)
        write = both(write, kept.write)
    severity = None if fail_on is None else Severity[fail_on.upper()]
    until = Until(steps, for_s, severity, measured=token_of(cadence))
    options = {"every": every, "budget": budget, "activations": activations}
    try:
        if named.recording is not None:
            from tuimon.cli.replay import play_lines

            return play_lines(named.recording, write, until)
        if named.place is None:
            assert named.pid is not None
            return follow_process(
                named.pid, write, until, cadence=cadence, histograms=kept is not None, options=options
            )
        from tuimon.cli.elsewhere import choose, follow_there, reached

        with reached(named.place, named.pid or choose(named.place, "record"), options) as transport:
            return follow_there(transport, write, until, cadence, histograms=kept is not None)
    finally:
        if kept is not None:
            kept.close()


def both(first: Write, second: Write) -> Write:
    """Writes to the one, then to the other."""

    def write(session: Session, change: Change) -> None:
        first(session, change)
        second(session, change)

    return write


def text_writer() -> Write:
    """Writes lines for a person to standard output."""
    from tuimon.cli.lines import text_lines

    def write(session: Session, change: Change) -> None:
        for line in text_lines(session, change):
            _put(line)

    return write


def json_writer(tensors: bool) -> Write:
    """Writes JSON lines to standard output."""
    from tuimon.session.jsonlines import dumps, event_lines

    def write(session: Session, change: Change) -> None:
        line = event_lines(session, change, tensors=tensors)
        if line is not None:
            _put(dumps(line))

    return write


def _put(line: str) -> None:
    try:
        print(line, flush=True)
    except BrokenPipeError:
        # By a name of our own: click would end the process with exit code 1.
        raise ReaderGone from None
