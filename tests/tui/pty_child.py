"""Run under a pseudo-terminal by test_tui_terminal.py: the monitor over a run that a thread tells it.

Arguments: samples told at once, then samples told one by one, each after the screen has shown the last.
A title sequence marks where the second part begins. With a third argument it stays until it is ended.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable

from bench.synthetic_run import START_S, SyntheticRun
from tuimon.attach.events import Connected, Event
from tuimon.session.session import Session
from tuimon.tui.app import PAINT_S, MonitorApp

MARK = "\x1b]0;steady\x07"


class Watched(MonitorApp):
    """Tells when something was shown."""

    def __init__(self, *args: object, **options: object) -> None:
        self.displayed = threading.Event()
        super().__init__(*args, **options)  # type: ignore[arg-type]

    def post_display_hook(self) -> None:
        self.displayed.set()


class Telling:
    """A source that waits for the screen before it tells the next sample, so that no time is involved."""

    def __init__(self, deliver: Callable[[Event], None]) -> None:
        self._deliver = deliver
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._tell, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()

    def _tell(self) -> None:
        past, present = int(sys.argv[1]), int(sys.argv[2])
        for event in (Connected(), run.hello, run.layout, *run.samples(past)):
            self._deliver(event)
        while app.session.samples < past and not self._stopping.is_set():
            app.displayed.wait(0.05)
            app.displayed.clear()
        app.call_from_thread(lambda: app._driver.write(MARK))  # type: ignore[union-attr]
        for index in range(past + 1, past + present + 1):
            now[0] += PAINT_S
            app.displayed.clear()
            self._deliver(run.sample(index))
            app.displayed.wait(5.0)
        if len(sys.argv) < 4:
            app.call_from_thread(app.exit)


now = [START_S + 1e5]
run = SyntheticRun(blocks=42)
app = Watched(
    Telling, "4711", session=Session((), lambda: now[0]), clock=lambda: now[0], paint_s=0.0
)
app.run()
