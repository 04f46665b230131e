"""The file of `--events`: JSON lines, for as long as it takes them."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, TextIO

from tuimon.cli.exits import Failure

if TYPE_CHECKING:
    from tuimon.session.change import Change
    from tuimon.session.session import Session


class EventFile:
    """Takes the changes of a session, one line each. A disk that is full ends it, not the training.

    Args:
        name: the file, which is overwritten; "-" is standard error, for standard output is the command's.
    """

    def __init__(self, name: str) -> None:
        """Open it.

        Raises:
            Failure: it cannot be written to.
        """
        self._name = name
        self._file: TextIO | None
        try:
            opened = os.dup(sys.stderr.fileno()) if name == "-" else name
            self._file = open(opened, "w", buffering=1, encoding="utf-8", errors="replace")  # noqa: SIM115
        except OSError as error:
            raise Failure(f"{name} cannot be written to: {error.strerror}; nothing was started") from None

    def write(self, session: Session, change: Change) -> None:
        """Write what the change says, if it says something."""
        from tuimon.session.jsonlines import dumps, event_lines

        line = event_lines(session, change)
        if line is None or self._file is None:
            return
        try:
            self._file.write(dumps(line) + "\n")
        except OSError as error:
            self._file = None
            print(f"tuimon: {self._name} ends here: {error.strerror}; the command goes on", file=sys.stderr)
