"""Between the source's thread and a consumer that may lag: bounded, in order, newest wins."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from tuimon.attach.events import Connected, Event
from tuimon.records.criterion import Evaluation
from tuimon.records.sample import Log, Sample

#: Samples and logs that wait at most. At four samples a second that is a minute of lag.
LIMIT = 256


class Mailbox:
    """Events from one thread to another.

    What happens while one watches is dropped when the consumer lags, the oldest sample (or log)
    first; everything else always arrives. The past, which comes at once after connecting, is not
    dropped: for it `put` waits until there is room. All methods may be called from any thread.

    Args:
        limit: samples and logs that may wait.
        clock: Unix time, seconds, as in `Sample.time_s`. Between machines whose clocks differ, some
            of the present may be treated as past, or of the past as present; never anything worse.
    """

    def __init__(self, limit: int = LIMIT, clock: Callable[[], float] = time.time) -> None:
        self._limit = limit
        self._clock = clock
        self._changed = threading.Condition()
        self._events: deque[Event] = deque()
        self._waiting = 0
        self._connected_s = clock()
        self._dropped = 0
        self._closed = False

    @property
    def dropped(self) -> int:
        """Samples and logs dropped so far."""
        return self._dropped

    def put(self, event: Event) -> None:
        """Add an event. A closed mailbox takes none."""
        with self._changed:
            if isinstance(event, Connected):
                self._connected_s = self._clock()
            if isinstance(event, Sample | Log | Evaluation):
                self._make_room()
                self._waiting += 1
            if not self._closed:
                self._events.append(event)
                self._changed.notify_all()

    def get(self, timeout_s: float | None = None) -> Event | None:
        """The oldest event, waited for; None when none came in time or the mailbox is closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._events or self._closed, timeout_s)
            return self._take() if self._events else None

    def drain(self) -> list[Event]:
        """All events that wait, oldest first. Never waits."""
        with self._changed:
            return [self._take() for _ in range(len(self._events))]

    def close(self) -> None:
        """Take no more, and wake whoever waits. What waits can still be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _take(self) -> Event:
        event = self._events.popleft()
        if isinstance(event, Sample | Log | Evaluation):
            self._waiting -= 1
            self._changed.notify_all()
        return event

    def _make_room(self) -> None:
        if self._waiting >= self._limit and self._drop_oldest_present():
            return
        self._changed.wait_for(lambda: self._waiting < self._limit or self._closed)

    def _drop_oldest_present(self) -> bool:
        for i, event in enumerate(self._events):
            if isinstance(event, Sample | Log | Evaluation) and event.time_s >= self._connected_s:
                del self._events[i]
                self._waiting -= 1
                self._dropped += 1
                return True
        return False
