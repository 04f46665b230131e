"""A source for a training that must be entered first: enters on its own thread, then follows."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

from tuimon.attach.errors import AttachError
from tuimon.attach.events import Ended, Entering, Event
from tuimon.attach.injection.entry_errors import GivenUp
from tuimon.attach.source import Source
from tuimon.wire.commands import Command

#: Whether whoever waits has lost interest.
Stopped = Callable[[], bool]


class Enter(Protocol):
    """Brings the agent in; returns the source of it, not started yet."""

    def __call__(self, stopped: Stopped, tell: Callable[[str], None]) -> Source:
        """See `tuimon.attach.injection.entering.enter`; `GivenUp` once `stopped()`."""
        ...


class Entrance:
    """Like a `Source`, which it becomes; before that it delivers `Entering`, and `Ended` if that fails.

    Args:
        enter: brings the agent in.
        deliver: takes events; must not raise.
    """

    def __init__(self, enter: Enter, deliver: Callable[[Event], None]) -> None:
        self._enter, self._deliver = enter, deliver
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._source: Source | None = None
        self._thread = threading.Thread(target=self._run, name="tuimon-entrance", daemon=True)

    def start(self) -> None:
        """Begin to enter. Once only."""
        self._thread.start()

    def stop(self) -> None:
        """As `Source.stop`. An entry that is under way is ended in good order first, which takes a moment."""
        self._stopping.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join()
        if self._source is not None:
            self._source.stop()

    def send(self, command: Command) -> bool:
        """As `Source.send`; False as long as nothing was entered."""
        with self._lock:
            source = self._source
        return source is not None and source.send(command)

    def _run(self) -> None:
        try:
            source = self._enter(self._stopping.is_set, lambda text: self._deliver(Entering(text)))
        except GivenUp:
            return
        except (AttachError, OSError) as error:
            if not self._stopping.is_set():
                self._deliver(Ended(str(error)))
            return
        with self._lock:
            self._source = source
        if not self._stopping.is_set():
            source.start()
