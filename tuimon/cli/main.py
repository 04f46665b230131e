"""The command `tuimon`, and the one place where errors become a line on stderr and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import NoReturn, TextIO

import click

from tuimon.cli.attach import attach
from tuimon.cli.demo import demo
from tuimon.cli.detach import detach
from tuimon.cli.doctor import doctor
from tuimon.cli.exits import FAILED, FINE, INTERRUPTED, USAGE, Failure, ReaderGone
from tuimon.cli.explain import explain
from tuimon.cli.list import list_
from tuimon.cli.record import record
from tuimon.cli.relay import relay
from tuimon.cli.replay import replay
from tuimon.cli.run import run as run_
from tuimon.version import __version__


@click.group(
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="tuimon")
@click.pass_context
def tuimon(context: click.Context) -> int:
    """Look into a running PyTorch training: every layer, live.

    `tuimon list` shows what trains here, `tuimon attach PID` looks into it: no line of the training needs
    to change. Try `tuimon demo` first.

    Exit codes: 0 fine, 1 failed, 2 usage, 3 an alert of the level given to --fail-on fired.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())
    return USAGE  # unless a verb says otherwise


for _verb in (attach, list_, run_, record, replay, detach, doctor, demo, explain, relay):
    tuimon.add_command(_verb)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line (by default this process's) and return its exit code."""
    try:
        code = tuimon.main(arguments, prog_name="tuimon", standalone_mode=False)
        # Here, not at exit: a reader that is gone must be noticed while it can be handled.
        sys.stdout.flush()
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "tuimon"
        return _say(f"{command}: {error.format_message()} See `{command} --help`.", USAGE)
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except (BrokenPipeError, ReaderGone):
        _discard(sys.stdout)
        return FINE
    except Failure as error:
        return _say(f"tuimon: {error}", error.code)
    except OSError as error:
        return _say(f"tuimon: {error}", FAILED)
    return code if isinstance(code, int) else FINE


def main() -> NoReturn:
    """Entry point of the installed command."""
    for stream in (sys.stdout, sys.stderr):
        # A name that this terminal cannot show is shown as far as it can be.
        with suppress(AttributeError):
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    sys.exit(run())


def _say(line: str, code: int) -> int:
    print(" ".join(line.split()), file=sys.stderr)
    return code


def _discard(stream: TextIO) -> None:
    """Send what is still buffered nowhere, so that the interpreter's own flush at exit succeeds."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
