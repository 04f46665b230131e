"""`tuimon run`: a command that is watched from its first step on."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from tuimon.cli.exits import ALERTED, FINE
from tuimon.cli.options import activations_option, budget_option, every_option
from tuimon.cli.record import LEVELS

if TYPE_CHECKING:
    from tuimon.attach.meeting import Meeting
    from tuimon.cli.child import Command
    from tuimon.cli.following import Write
    from tuimon.cli.recordfile import RecordFile

#: How often to look whether a process of the command has loaded PyTorch, seconds.
_LOOK_S = 0.1


@click.command(
    short_help="Start a command, and watch the training in it.",
    context_settings={"allow_interspersed_args": False},
)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option(
    "--record",
    type=click.Path(),
    metavar="FILE",
    help="Record the run into FILE, for `tuimon replay`; added to the runs that are in it.",
)
@click.option(
    "--events",
    type=click.Path(),
    metavar="FILE",
    help="Write the lines of `record --json` to FILE; - is standard error.",
)
@click.option(
    "--fail-on",
    type=click.Choice(LEVELS),
    help="Exit with code 3 if an alert of this level or above fired and the command itself succeeded.",
)
@every_option
@budget_option
@activations_option
def run(
    command: tuple[str, ...],
    record: str | None,
    events: str | None,
    fail_on: str | None,
    every: int | None,
    budget: float | None,
    activations: str,
) -> int:
    """Start COMMAND and watch the training in it from its first step on.

    The command may be a script, `python -m`, torchrun or a shell script that leads to one of these. It
    keeps its terminal, gets the signals sent to tuimon, and its exit code is that of tuimon. Nothing in it
    needs to know of tuimon; `tuimon attach` works meanwhile. The last line on standard error says what fired.
    """
    if every is not None and budget is not None:
        raise click.UsageError("--every and --budget exclude each other.")

    from tuimon.attach.meeting import LAUNCHER, Meeting
    from tuimon.cli.child import Command
    from tuimon.cli.eventfile import EventFile
    from tuimon.cli.interpreter import relaunched

    written = [] if events is None else [EventFile(events).write]
    kept = None
    if record is not None:
        from tuimon.cli.recordfile import RecordFile

        kept = RecordFile(record, "nothing was started")
    with Meeting() as meeting:
        options = {"every": every, "budget": budget, "activations": activations}
        environment = meeting.environment(options, os.environ)
        child = Command(relaunched(command, str(LAUNCHER)), environment)
        told, alerted = _watch(child, meeting, written, kept, fail_on)
        code = child.exit_code()
    print(f"tuimon: {told}", file=sys.stderr)
    return ALERTED if code == FINE and alerted else code


def _watch(
    child: Command, meeting: Meeting, written: Sequence[Write], kept: RecordFile | None, fail_on: str | None
) -> tuple[str, bool]:
    """Follow the command to its end; what is to be told of it, and whether an alert asked for fired."""
    while not meeting.members():
        if child.ended.wait(_LOOK_S) and not meeting.members():
            return f"nothing was observed: {meeting.silence()}", False
    # Not before: most of it is of no use to a command that trains nothing.
    from tuimon.cli.beside import Beside
    from tuimon.records.alert import Severity

    level = None if fail_on is None else Severity[fail_on.upper()]
    beside = Beside(meeting, child.ended, written, kept, level)
    beside.follow()
    return beside.summary(), beside.alerted
