"""How a command ends. The exit codes are a contract with scripts."""

from __future__ import annotations

FINE = 0
#: One line on stderr says what, which pid or file, and what to do.
FAILED = 1
USAGE = 2
#: An alert of the level given to `--fail-on` fired.
ALERTED = 3
#: Ctrl-C where there was nothing to finish; 128 + SIGINT, as shells have it.
INTERRUPTED = 130


class Failure(Exception):
    """What was asked for cannot be done: one line that says what, about which pid or file, and what to do."""


class ReaderGone(Exception):
    """Nobody reads standard output any more: a quiet end, as in `tuimon record PID | head`."""
