"""The process that `tuimon demo` starts: the training, for as long as its starter holds the pipe."""

from __future__ import annotations

import _thread
import os
import sys
import threading


def end_with_starter() -> None:
    """Interrupt the main thread once standard input is closed: the starter is gone, even by kill -9."""

    def wait() -> None:
        while os.read(0, 4096):
            pass
        _thread.interrupt_main()

    threading.Thread(target=wait, name="tuimon-demo-starter", daemon=True).start()


if __name__ == "__main__":
    end_with_starter()
    from tuimon.demo.train import main

    try:
        main()
    except KeyboardInterrupt:
        sys.exit(0)
