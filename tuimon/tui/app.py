"""The monitor on a terminal: events in on one side, pictures out on the other.

The source's thread puts events into a mailbox and knocks; all else happens on the screen's own thread.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from rich.console import RenderableType
from textual.app import App
from textual.binding import BindingType
from textual.events import Resize
from textual.message import Message
from textual.screen import Screen
from textual.timer import Timer

from tuimon.attach.events import Event
from tuimon.attach.mailbox import Mailbox
from tuimon.session.follow import Following
from tuimon.session.session import Session
from tuimon.tui.hangup import terminal_gone
from tuimon.tui.lean import Glass, lean
from tuimon.tui.look import Look, choose
from tuimon.tui.screens.base import MonitorScreen
from tuimon.tui.screens.overview import OverviewScreen
from tuimon.tui.view import View

#: Pictures a second at most are 1 / PAINT_S: eyes need no more, and each one costs bytes and time.
PAINT_S = 0.25
#: How long events are applied before keys get their turn, seconds.
_SLICE_S = 0.02
#: Samples that wait at most: some seconds of lag; of 300 layers each takes 0.4 MB.
_WAITING = 32
#: How long everything else has in between at least, seconds.
_BREATH_S = 0.002
#: How often ages are counted on and the terminal is looked after, seconds.
_BEAT_S = 1.0

OpenSource = Callable[[Callable[[Event], None]], Following]


class Knock(Message):
    """Events wait in the mailbox."""

    def can_replace(self, message: Message) -> bool:
        """One is enough, however many events wait."""
        return isinstance(message, Knock)


class MonitorApp(App[None]):
    """The monitor of one run. After `run`, `session` holds what was seen.

    Args:
        open_source: makes the source from the function that it shall deliver events to.
        target: what the person asked to see.
        session: a session to go on with.
        look: colours and glyphs; None chooses by the environment.
        clock: Unix time where the training runs, seconds.
        paint_s: time between two pictures at least.
    """

    CSS_PATH = Path(__file__).with_name("tui.tcss")
    TITLE = "tuimon"
    ENABLE_COMMAND_PALETTE = False
    AUTO_FOCUS = None
    BINDINGS: ClassVar[list[BindingType]] = [("ctrl+c", "quit", "quit"), ("ctrl+l", "redraw", "redraw")]

    def __init__(
        self, open_source: OpenSource, target: str, *, session: Session | None = None,
        look: Look | None = None, clock: Callable[[], float] = time.time, paint_s: float = PAINT_S,
    ) -> None:  # fmt: skip
        # Textual takes NO_COLOR out of the environment, so the look is chosen first.
        look = look or choose(os.environ)
        super().__init__()
        self.session = Session(clock=clock) if session is None else session
        self.view = View(self.session, target, look, clock)
        self.animation_level = "none"
        self._glass = Glass(look.coloured)
        self._mailbox = Mailbox(_WAITING, clock)
        self._source = open_source(self._deliver)
        self._knocked = False
        self._paint_s = paint_s
        self._painted_at = -paint_s
        self._due: Timer | None = None

    def get_default_screen(self) -> Screen[None]:
        """See `App`."""
        return OverviewScreen(self.view)

    def on_mount(self) -> None:
        """Begin to listen."""
        self.app_resume_signal.subscribe(self, lambda _: self._glass.forget())
        self.set_interval(_BEAT_S, self._beat)
        # The frames first: a long past keeps both threads busy for a while.
        self.call_after_refresh(self._source.start)

    def on_unmount(self) -> None:
        """Leave the training alone."""
        # First the mailbox: a source that waits for room in it could not stop.
        self._mailbox.close()
        self._source.stop()

    def on_resize(self, event: Resize) -> None:
        """A terminal that changed its size may have moved what it shows."""
        self._glass.forget()

    def action_redraw(self) -> None:
        """Draw everything, whatever the terminal shows."""
        self._glass.forget()
        self.refresh()

    # Events in ---------------------------------------------------------------------------------------

    def _deliver(self, event: Event) -> None:
        """On the source's thread."""
        self._mailbox.put(event)
        self._knock()

    def _knock(self) -> None:
        """Have the mailbox emptied; one message is enough, however many events wait."""
        if not self._knocked:
            self._knocked = True
            self.post_message(Knock())

    def on_knock(self, message: Knock) -> None:
        """Apply what waits, for as long as nobody notices."""
        self._knocked = False
        until = time.perf_counter() + _SLICE_S
        applied = False
        while (event := self._mailbox.get(0.0)) is not None:
            self.session.apply(event)
            applied = True
            if time.perf_counter() > until:
                # Keys, and the painting of what was applied, get a turn: messages alone would not give way.
                asyncio.get_running_loop().call_later(_BREATH_S, self._knock)
                break
        if self.session.connection.status == "ended" and self.session.hello is None:
            self.exit()  # it could not be entered, or never said a word: there is nothing to look at
        elif applied:
            self._paint_soon()

    # Pictures out ------------------------------------------------------------------------------------

    def paint(self, at_once: bool = False) -> None:
        """Draw anew what changed, numbers only when it is time."""
        if self._due is not None:
            self._due.stop()
            self._due = None
        self._painted_at = time.monotonic()
        self.view.tick(at_once)
        if isinstance(self.screen, MonitorScreen):
            self.screen.paint(at_once)

    def _paint_soon(self) -> None:
        wait_s = self._painted_at + self._paint_s - time.monotonic()
        if wait_s <= 0:
            self.paint()
        elif self._due is None:
            self._due = self.set_timer(wait_s, self.paint)

    def _beat(self) -> None:
        if not self.is_headless and terminal_gone(0, 2):
            self.exit()
            return
        self.paint()

    def _display(self, screen: Screen[object], renderable: RenderableType | None) -> None:
        super()._display(screen, lean(renderable, self._glass))
