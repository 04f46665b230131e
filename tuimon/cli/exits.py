"""How a command ends. The exit codes are a contract with scripts."""

from __future__ import annotations

FINE = 0
#: One line on stderr says what, which pid or file, and what to do.
FAILED = 1
USAGE = 2
#: An alert of the level given to `--fail-on` fired.
ALERTED = 3
#: `tuimon run` with a command that is not there, or cannot be run; as shells have it.
NOT_FOUND, NOT_EXECUTABLE = 127, 126
#: Ctrl-C where there was nothing to finish; 128 + SIGINT, as shells have it.
INTERRUPTED = 130


class Failure(Exception):
    """What was asked for cannot be done: one line that says what, about which pid or file, and what to do."""

    def __init__(self, line: str, code: int = FAILED) -> None:
        super().__init__(line)
        self.code = code


class ReaderGone(Exception):
    """Nobody reads standard output any more: a quiet end, as in `tuimon record PID | head`."""
