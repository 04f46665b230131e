"""What TARGET may be on the command line. In this version: the process id of a training here."""

from __future__ import annotations

import os

import click
from click.shell_completion import CompletionItem

from tuimon.cli.exits import Failure


def target_pid(text: str) -> int:
    """The process id that TARGET names.

    Raises:
        Failure: it names a file.
        click.BadParameter: it names nothing known.
    """
    if text.isascii() and text.isdigit() and int(text) > 0:
        return int(text)
    if os.path.exists(text):
        raise Failure(
            f"{text} is a file, and this version opens running trainings only; "
            "`tuimon list` shows their process ids"
        )
    raise click.BadParameter(f"{text!r} is no process id; `tuimon list` shows the trainings that run.")


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
