"""`tuimon attach`: the screen on a running training."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import click

from tuimon.cli.exits import FINE, Failure
from tuimon.cli.options import activations_option, budget_option, every_option
from tuimon.cli.target import complete_target, target_pid

if TYPE_CHECKING:
    from tuimon.attach.entrance import Entrance
    from tuimon.attach.events import Event
    from tuimon.attach.source import Source
    from tuimon.wire.commands import Cadence


@click.command(short_help="Open the monitor on a running training.")
@click.argument("target", type=target_pid, shell_complete=complete_target)
@every_option
@budget_option
@activations_option
def attach(target: int, every: int | None, budget: float | None, activations: str) -> int:
    """Open the monitor on the training TARGET, a process id that `tuimon list` shows.

    Leaving it (q) leaves the training alone. Without a terminal, prints the lines of `tuimon record`. A
    training that tuimon is not inside yet is entered: it pauses for a moment, and tuimon leaves it again
    some time after the last viewer.
    """
    if every is not None and budget is not None:
        raise click.UsageError("--every and --budget exclude each other.")
    options = {"every": every, "budget": budget, "activations": activations}

    from tuimon.wire.commands import Cadence

    cadence = None if every is None and budget is None else Cadence(every, budget)
    if has_screen():
        return open_screen(target, cadence=cadence, options=options)
    from tuimon.cli.following import follow_process
    from tuimon.cli.record import text_writer

    return follow_process(target, text_writer(), cadence=cadence, options=options)


def has_screen() -> bool:
    """Whether this process can draw on a terminal and hear its keys."""
    # Textual reads standard input and draws on standard error.
    streams = (sys.stdin, sys.stdout, sys.stderr)
    return all(stream.isatty() for stream in streams) and os.environ.get("TERM", "dumb") != "dumb"


def open_screen(
    pid: int,
    leaving: str | None = None,
    *,
    cadence: Cadence | None = None,
    options: Mapping[str, object] | None = None,
) -> int:
    """Show the monitor until the person leaves it, then say in a line or two what was seen.

    `leaving` tells what that means for a training that has not ended; by default that it goes on.
    `options` are for the agent that is brought in where none is, `cadence` for any.

    Raises:
        Failure: there is no agent to be found, or none that answers.
    """
    from tuimon.attach.events import Connected
    from tuimon.cli.following import source_of
    from tuimon.cli.lines import parting_lines
    from tuimon.tui.app import MonitorApp

    def open_source(deliver: Callable[[Event], None]) -> Source | Entrance:
        source: Source | Entrance

        def pass_on(event: Event) -> None:
            if cadence is not None and isinstance(event, Connected):
                source.send(cadence)
            deliver(event)

        source = source_of(pid, pass_on, histograms=True, options=options)
        return source

    app = MonitorApp(open_source, str(pid))
    app.run()
    if app.return_code:
        return app.return_code
    state = app.session.connection
    if app.session.hello is None and state.reason is not None and state.status != "connecting":
        raise Failure(state.reason)
    print("\n".join(parting_lines(app.session, leaving or f"left; process {pid} goes on")))
    return FINE
