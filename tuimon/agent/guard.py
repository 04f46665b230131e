"""The one border between the monitor and the training: nothing of ours may pass it as an error."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable


class Guard:
    """Takes the monitor's first error, disarms it once, and says so in one line on stderr (promise P1)."""

    def __init__(self, disarm: Callable[[str], None]) -> None:
        self._disarm = disarm
        #: The error that ended the monitoring, with its place; None while all is well.
        self.failure: str | None = None
        self._retired = False

    def retire(self) -> None:
        """The monitoring has ended: what hooks that are still on their way run into is no failure."""
        self._retired = True

    def take(self, error: BaseException) -> None:
        """Disarm because of `error`. Later errors, of hooks already on their way, are dropped."""
        if self.failure is not None or self._retired:
            return
        frame = traceback.extract_tb(error.__traceback__)[-1:]
        place = f" at {frame[0].filename}:{frame[0].lineno}" if frame else ""
        # torch.compile's errors are pages long, with what happened first.
        what = next(iter(str(error).splitlines()), "")
        self.failure = f"{type(error).__name__}: {what}{place}"
        try:
            self._disarm(self.failure)
        except Exception as second:
            self.failure += f" (and while disarming {type(second).__name__}: {second})"
        say(f"stopped watching, training goes on: {self.failure}")


def say(text: str) -> None:
    """Print one line on the training's stderr; a closed or full one is no reason to fail."""
    try:
        print(f"tuimon: {text}", file=sys.stderr, flush=True)
    except (OSError, ValueError):
        return
