"""What the tests of the command line share."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace

from agent_double import HELLO, LAYOUT, Server, frames

from tuimon.records.sample import Bye

#: A guard against hanging, no measurement.
PATIENCE_S = 60.0

#: The training that is followed is none: an agent's double listens in this very process.
PID = os.getpid()
GREETING = frames(replace(HELLO, pid=PID), LAYOUT)
BYE = Bye("finished", 3, 1003.0)


@dataclass(frozen=True)
class Ran:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def only_line(self) -> str:
        """What stderr says, which must be one line, with nothing on stdout."""
        assert self.out == ""
        assert self.err.endswith("\n")
        assert self.err.count("\n") == 1, self.err
        assert "Traceback" not in self.err
        return self.err[:-1]


#: The fixtures of conftest.py.
Tuimon = Callable[..., Ran]
Start = Callable[..., "subprocess.Popen[str]"]
Agent = Callable[..., Server]
