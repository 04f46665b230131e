"""One viewer's connection: what it asked for, and how far it has been served.

Instead of a queue of its own a viewer has a place in the archive and one frame on the way, so one
that never reads holds no memory but that frame.
"""

from __future__ import annotations

import socket
from collections.abc import Callable

from tuimon.agent.publishing.archive import Archive
from tuimon.records.layout import Layout
from tuimon.records.sample import Sample
from tuimon.wire.commands import MAX_COMMAND_BYTES, Command, Subscribe, decode_command
from tuimon.wire.framing import Decoder

#: A viewer that had the newest record, stopped reading, and is now more than this many behind, gets
#: the newest sample next.
LAG_FRAMES = 64

#: Bytes given to one viewer before it is another's turn.
TURN_BYTES = 1 << 20

_NOTHING = memoryview(b"")


class Client:
    """Serves one viewer from the archive, without ever waiting for it."""

    def __init__(self, connection: socket.socket, archive: Archive) -> None:
        self.connection = connection
        #: Whether the viewer has said what it wants; one that has not, such as a probe, gets nothing.
        self.subscribed = False
        #: Whether something is left to send, and whether the socket takes nothing at present.
        self.waiting = self.blocked = False
        #: Bytes that the socket has taken from the beginning.
        self.sent_bytes = 0
        self._archive = archive
        self._decoder = Decoder(MAX_COMMAND_BYTES)
        self._histograms = True
        self._hello_due = False
        self._on_the_way = _NOTHING
        #: Sequence number up to which everything was sent or left out.
        self._place = 0
        #: Samples before this sequence number are left out.
        self._samples_from = 0
        #: Whether it has had the newest record, and whether its socket was full at any time since.
        self._caught_up = self._was_full = False
        #: Sequence number of the layout that the viewer reads samples by.
        self._layout = 0

    def receive(self) -> list[Command]:
        """What the viewer asked for since the last call, subscriptions already followed.

        Raises:
            EOFError: it has left.
            OSError: its connection is broken.
            WireError: it speaks another protocol.
        """
        try:
            chunk = self.connection.recv(MAX_COMMAND_BYTES)
        except BlockingIOError:
            return []
        if not chunk:
            raise EOFError
        others: list[Command] = []
        for payload in self._decoder.feed(chunk):
            command = decode_command(payload)
            if isinstance(command, Subscribe):
                self._subscribe(command)
            elif command is not None:
                others.append(command)
        return others

    def greet(self) -> None:
        """Send the Hello next, after the frame that is on its way."""
        self._hello_due = True

    def skip_to_newest(self) -> None:
        """Leave out all samples but the newest of those that have not been sent."""
        newest = self._archive.newest_sample
        self._samples_from = newest.sequence if newest is not None else 0

    def send(self, hello: Callable[[], bytes]) -> None:
        """Give the socket what it takes at once; `waiting` and `blocked` say how that went.

        Args:
            hello: makes the frame of the agent's introduction.

        Raises:
            OSError: the connection is broken.
        """
        self.waiting = self.blocked = False
        turn = self.sent_bytes + TURN_BYTES
        while self.subscribed and (self._on_the_way or self._load(hello)):
            self.waiting = True
            if self.sent_bytes >= turn:
                return
            try:
                # A training that has set SIGPIPE back to its default must survive a dead viewer.
                taken = self.connection.send(self._on_the_way, socket.MSG_NOSIGNAL)
            except BlockingIOError:
                self.blocked = self._was_full = True
                return
            self.sent_bytes += taken
            # An empty slice would keep the whole frame alive.
            self._on_the_way = self._on_the_way[taken:] if taken < len(self._on_the_way) else _NOTHING
            self.waiting = False

    def _subscribe(self, command: Subscribe) -> None:
        self._histograms = command.histograms
        if self.subscribed:
            return
        self.subscribed = self._hello_due = True
        if not command.history:
            first = self._archive.newest_sample or self._archive.newest_layout
            self._place = first.sequence - 1 if first is not None else self._archive.last_sequence

    def _load(self, hello: Callable[[], bytes]) -> bool:
        """Put the next frame on its way; False at the live end."""
        if self._hello_due:
            self._hello_due = False
            self._on_the_way = memoryview(hello())
            return True
        frame = self._next()
        if frame is None:
            return False
        self._on_the_way = memoryview(frame)
        return True

    def _next(self) -> bytes | None:
        archive = self._archive
        if self._caught_up and self._was_full and archive.behind(self._place) > LAG_FRAMES:
            self.skip_to_newest()
        while (entry := archive.after(self._place, self._samples_from)) is not None:
            layout = archive.layout(entry.layout) if entry.layout is not None else None
            if entry.kind is Sample:
                if layout is not None and layout.sequence != self._layout:
                    self._layout = layout.sequence
                    return layout.frame  # the sample is next
                self._place = entry.sequence
                if layout is not None:
                    return entry.frame if self._histograms else archive.without_histograms(entry)
                continue  # nobody could read it: its layout never came
            self._place = entry.sequence
            if entry.kind is not Layout:
                return entry.frame
            if entry.sequence != self._layout:
                self._layout = entry.sequence
                return entry.frame
        self._caught_up, self._was_full = True, False
        self._place = archive.last_sequence
        return None
