"""`tuimon attach`: the screen on a running training."""

from __future__ import annotations

import os
import sys

import click

from tuimon.cli.exits import FINE, Failure
from tuimon.cli.target import complete_target, target_pid


@click.command(short_help="Open the monitor on a running training.")
@click.argument("target", type=target_pid, shell_complete=complete_target)
def attach(target: int) -> int:
    """Open the monitor on the training TARGET, a process id that `tuimon list` shows.

    Leaving it (q) leaves the training alone. Without a terminal, prints the lines of `tuimon record`.
    """
    if has_screen():
        return open_screen(target)
    from tuimon.cli.following import follow_process
    from tuimon.cli.record import text_writer

    return follow_process(target, text_writer())


def has_screen() -> bool:
    """Whether this process can draw on a terminal and hear its keys."""
    # Textual reads standard input and draws on standard error.
    streams = (sys.stdin, sys.stdout, sys.stderr)
    return all(stream.isatty() for stream in streams) and os.environ.get("TERM", "dumb") != "dumb"


def open_screen(pid: int, leaving: str | None = None) -> int:
    """Show the monitor until the person leaves it, then say in a line or two what was seen.

    `leaving` tells what that means for a training that has not ended; by default that it goes on.

    Raises:
        Failure: there is no agent to be found, or none that answers.
    """
    from tuimon.cli.following import source_of
    from tuimon.cli.lines import parting_lines
    from tuimon.tui.app import MonitorApp

    app = MonitorApp(lambda deliver: source_of(pid, deliver, histograms=True), str(pid))
    app.run()
    if app.return_code:
        return app.return_code
    state = app.session.connection
    if app.session.hello is None and state.reason is not None:
        raise Failure(state.reason)
    print("\n".join(parting_lines(app.session, leaving or f"left; process {pid} goes on")))
    return FINE
