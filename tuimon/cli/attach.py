"""`tuimon attach`: the screen on a running training."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import click

from tuimon.cli.exits import FINE, Failure
from tuimon.cli.options import activations_option, asked, budget_option, every_option, measure_option
from tuimon.cli.target import complete_target, place_options, read_target

if TYPE_CHECKING:
    from tuimon.attach.elsewhere.place import Place
    from tuimon.attach.events import Event
    from tuimon.attach.injection.entrance import Entrance
    from tuimon.attach.source import Source
    from tuimon.cli.following import OpenSource
    from tuimon.session.replay import Replay
    from tuimon.wire.commands import Cadence


@click.command(short_help="Open the monitor on a running training.")
@click.argument("target", required=False, shell_complete=complete_target)
@place_options
@every_option
@budget_option
@measure_option
@activations_option
def attach(
    target: str | None,
    via: str | None,
    remote_command: str | None,
    every: int | None,
    budget: float | None,
    measure: bool,
    activations: str,
) -> int:
    """Open the monitor on the training TARGET: a process id that `tuimon list` shows, or a recording.

    HOST:PID or USER@HOST:PID is a training on another machine, reached through ssh; HOST alone lets you
    choose from its list. tuimon must be installed there too.

    Leaving it (q) leaves the training alone. Without a terminal, prints the lines of `tuimon record`. A
    training that tuimon is not inside yet is entered: it pauses for a moment, and tuimon leaves it again
    some time after the last viewer.
    """
    cadence = asked(every, budget, measure)
    named = read_target(target, via, remote_command)
    options = {"every": every, "budget": budget, "activations": activations}

    if named.place is not None:
        return _attach_there(named.place, named.pid, cadence, options)
    if named.recording is not None:
        from tuimon.cli.replay import play

        return play(named.recording)
    assert named.pid is not None
    if has_screen():
        return open_screen(named.pid, cadence=cadence, options=options)
    from tuimon.cli.following import follow_process
    from tuimon.cli.record import text_writer

    return follow_process(named.pid, text_writer(), cadence=cadence, options=options)


def _attach_there(
    place: Place, pid: int | None, cadence: Cadence | None, options: Mapping[str, object]
) -> int:
    from tuimon.cli.elsewhere import choose, follow_there, reached
    from tuimon.cli.record import text_writer

    with reached(place, choose(place, "attach") if pid is None else pid, options) as transport:
        if not has_screen():
            return follow_there(transport, text_writer(), cadence=cadence)
        from tuimon.attach.elsewhere.remote import attach_through
        from tuimon.wire.commands import Subscribe

        return show(
            lambda deliver: attach_through(transport, deliver, Subscribe(histograms=True)),
            place.target(transport.pid or 0),
            f"left; process {transport.pid} on {place.name} goes on",
            cadence=cadence,
            clock=transport.now_s,
        )


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
    from tuimon.cli.following import source_of

    return show(
        lambda deliver: source_of(pid, deliver, histograms=True, options=options),
        str(pid),
        leaving or f"left; process {pid} goes on",
        cadence=cadence,
    )


def show(
    open_source: OpenSource,
    target: str,
    leaving: str,
    *,
    cadence: Cadence | None = None,
    clock: Callable[[], float] = time.time,
) -> int:
    """Show the monitor on what a source tells; see `open_screen`.

    Args:
        open_source: makes the source.
        target: what the person asked to see.
        leaving: what leaving means for a training that has not ended.
        cadence: how often to look, where the person said so.
        clock: Unix time where the training runs, seconds.

    Raises:
        Failure: there is no agent to be found, or none that answers.
    """
    from tuimon.attach.events import Connected
    from tuimon.cli.lines import parting_lines
    from tuimon.tui.app import MonitorApp

    def opened(deliver: Callable[[Event], None]) -> Source | Entrance | Replay:
        source: Source | Entrance | Replay

        def pass_on(event: Event) -> None:
            if cadence is not None and isinstance(event, Connected):
                source.send(cadence)
            deliver(event)

        source = open_source(pass_on)
        return source

    app = MonitorApp(opened, target, clock=clock)
    app.run()
    if app.return_code:
        return app.return_code
    state = app.session.connection
    if app.session.hello is None and state.reason is not None and state.status != "connecting":
        raise Failure(state.reason)
    print("\n".join(parting_lines(app.session, leaving)))
    return FINE
