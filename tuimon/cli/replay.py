"""`tuimon replay`: a recorded run as if live."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tuimon.cli.exits import Failure

if TYPE_CHECKING:
    from tuimon.attach.events import Event
    from tuimon.cli.following import Until, Write
    from tuimon.session.replay import Replay


@click.command(short_help="Open the monitor on a recorded run.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--run", type=click.IntRange(min=1), metavar="N", help="Which run of the file.  [default: the newest]"
)
def replay(file: Path, run: int | None) -> int:
    """Open the monitor on a run that `tuimon run --record FILE` or `tuimon record TARGET -o FILE` recorded.

    Without a terminal, prints the lines of `tuimon record`.
    """
    return play(file, run)


def play(path: Path, run: int | None = None) -> int:
    """Show a recorded run on the screen, or as lines where there is none.

    Raises:
        Failure: there is no such recording or run, or it is damaged.
    """
    from tuimon.cli.attach import has_screen, show
    from tuimon.cli.record import text_writer

    if not has_screen():
        return play_lines(path, text_writer(), run=run)
    player = _Player(path, run)
    code = show(player.open, path.name, f"left {path.name} before its end")
    player.check()
    return code


def play_lines(path: Path, write: Write, until: Until | None = None, *, run: int | None = None) -> int:
    """Hand every change of a recorded run to `write`; the exit code.

    Raises:
        Failure: there is no such recording or run, or it is damaged.
    """
    from tuimon.cli.following import follow_source

    player = _Player(path, run)
    code = follow_source(player.open, write, until)
    player.check()
    return code


class _Player:
    def __init__(self, path: Path, run: int | None) -> None:
        self._path, self._run = path, run
        self._replay: Replay | None = None

    def open(self, deliver: Callable[[Event], None]) -> Replay:
        """Open the recording."""
        from tuimon.recording.errors import RecordingError
        from tuimon.session.replay import Replay

        try:
            self._replay = Replay(self._path, self._run, deliver)
        except RecordingError as error:
            raise Failure(str(error)) from None
        if self._run is None and self._replay.run.run > 1:
            number = self._replay.run.run
            print(f"run {number} of {number}; --run N shows another", file=sys.stderr)
        return self._replay

    def check(self) -> None:
        """Fail if the run was not shown to its end because the file is damaged."""
        if self._replay is not None and self._replay.failure is not None:
            raise Failure(str(self._replay.failure))
