"""`tuimon attach`: the screen on a running training."""

from __future__ import annotations

import os
import sys

import click

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
    return sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def open_screen(pid: int) -> int:
    """Show the monitor until the person leaves it.

    Raises:
        Failure: there is no agent to be found.
    """
    raise NotImplementedError
