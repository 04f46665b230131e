"""Whether the terminal is still there."""

from __future__ import annotations

import select


def terminal_gone(*descriptors: int) -> bool:
    """Whether one of these descriptors of a terminal has hung up or is closed."""
    poll = select.poll()
    for descriptor in descriptors:
        # Hang-up and error are always reported; nothing else is asked for.
        poll.register(descriptor, 0)
    gone = select.POLLHUP | select.POLLERR | select.POLLNVAL
    return any(state & gone for _, state in poll.poll(0))
