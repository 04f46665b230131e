"""Following one run to its end: the source's thread, a mailbox, and a session fed from it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from tuimon.attach.events import Ended, Event
from tuimon.attach.mailbox import Mailbox
from tuimon.session.change import Change
from tuimon.session.session import Session

#: How often `stop` is asked while nothing comes, seconds.
_TICK_S = 0.1


class Following(Protocol):
    """What runs in the background: `tuimon.attach.source.Source` is one."""

    def start(self) -> None:
        """Begin to deliver."""
        ...

    def stop(self) -> None:
        """Deliver nothing more; returns when nothing runs any more."""
        ...


def follow(
    session: Session,
    open_source: Callable[[Callable[[Event], None]], Following],
    stop: Callable[[], bool] = lambda: False,
    *,
    mailbox: Mailbox | None = None,
) -> Iterator[Change]:
    """Every change of a run, in order, until it ends, `stop()` is true or the iterator is closed.

    `stop` is asked between events: the changes of one event (a sample and the alerts that it
    fired) are never torn apart.

    `open_source` makes the source from the function that it shall deliver to, such as
    ``lambda deliver: Source(transport, deliver, alive)``. A consumer that lags loses the oldest
    samples. The session belongs to the thread that iterates.
    """
    box = mailbox or Mailbox()
    source = open_source(box.put)
    source.start()
    try:
        while not stop():
            event = box.get(_TICK_S)
            if event is None:
                yield from session.beat()
                continue
            yield from session.apply(event)
            if isinstance(event, Ended):
                return
    finally:
        # First the mailbox: a source that waits for room in it could not stop.
        box.close()
        source.stop()
