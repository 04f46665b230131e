"""`tuimon relay`: what `tuimon attach HOST:PID` runs on HOST."""

from __future__ import annotations

import os
import sys

import click

from tuimon.cli.exits import FINE, Failure
from tuimon.cli.options import activations_option, budget_option, every_option


@click.command(hidden=True)
@click.argument("pid", type=click.IntRange(min=1))
@every_option
@budget_option
@activations_option
def relay(pid: int, every: int | None, budget: float | None, activations: str) -> int:
    """Copy between standard input and output and the agent in process PID, until either ends.

    This is what `tuimon attach HOST:PID` runs on HOST; there is nothing in it for a person. The options
    are for a process that has to be entered first.
    """
    sink = sys.stdout.fileno()
    if os.isatty(sink):
        raise Failure(
            "`tuimon relay` speaks to `tuimon attach HOST:PID` on another machine, and not to a terminal; "
            "where --via made one, leave its -t away"
        )
    from tuimon.attach.discovery import way_in
    from tuimon.attach.elsewhere.relay import refuse
    from tuimon.attach.elsewhere.relay import relay as copy
    from tuimon.attach.errors import AttachError

    try:
        options = {"every": every, "budget": budget, "activations": activations}
        transport, started_ticks = way_in(pid, options, lambda line: click.echo(f"tuimon: {line}", err=True))
    except AttachError as error:
        refuse(error, sink)
        raise Failure(str(error)) from None
    try:
        copy(transport, started_ticks, sys.stdin.fileno(), sink)
    except AttachError as error:
        raise Failure(str(error)) from None
    return FINE
