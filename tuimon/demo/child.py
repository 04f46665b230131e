"""The process that `tuimon demo` starts: the training, for as long as its starter holds the pipe."""

from __future__ import annotations

import _thread
import os
import sys
import threading


def listen_to_starter() -> threading.Event:
    """Hear from standard input what the starter does; the event is set once it watches.

    When the pipe closes the starter is gone, even by kill -9, and the main thread is interrupted.
    """
    watched = threading.Event()

    def listen() -> None:
        while os.read(0, 4096):
            watched.set()
        _thread.interrupt_main()

    threading.Thread(target=listen, name="tuimon-demo-starter", daemon=True).start()
    return watched


if __name__ == "__main__":
    starter_watches = listen_to_starter()
    from tuimon.demo.train import main

    try:
        main()
        # A few steps are over before anyone can look; the agent remembers them.
        starter_watches.wait()
    except KeyboardInterrupt:
        sys.exit(0)
