"""`watch(..., record=FILE)`: a process beside the training that follows it into a file.

The file is written by a viewer like any other (`tuimon record PID -o FILE`), so that a slow disk, a full
one or an error in the writing is never the training's. It ends by itself with the training.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tuimon.agent.guard import say

#: What the recorder imports first; an environment that only trains may lack it.
_NEEDS = ("click", "msgspec", "numpy", "psutil")
#: How long `watch` waits until the recorder listens, so that a training of a moment is recorded, too; that
#: takes a second with a warm disk.
PATIENCE_S = 20.0
_LOOK_S = 0.01


def record_into(file: str | os.PathLike[str], listens: Callable[[], bool]) -> None:
    """Start the recorder for this process, and wait until it listens or has given up. Never raises.

    Of several ranks only the first is recorded. What goes wrong is said on stderr, by the recorder or here.
    """
    if os.environ.get("RANK", "0") != "0":
        return
    missing = [name for name in _NEEDS if importlib.util.find_spec(name) is None]
    if missing:
        say(f"nothing is recorded into {file}: {missing[0]} is not installed here; pip install tuimon")
        return
    root = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    environment = {name: value for name, value in os.environ.items() if name != "TUIMON_RUN"}
    try:
        recorder = subprocess.Popen(
            [sys.executable, "-m", "tuimon", "record", str(os.getpid()), "-o", os.path.abspath(file)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            # Of its own session: Ctrl-C is for the training, whose last steps are still to be recorded.
            start_new_session=True,
            env={**environment, "PYTHONPATH": path},
        )
    except OSError as error:
        say(f"nothing is recorded into {file}: {error}")
        return
    deadline_s = time.monotonic() + PATIENCE_S
    while not listens() and recorder.poll() is None and time.monotonic() < deadline_s:
        time.sleep(_LOOK_S)
    # It ends after the training, which does not wait for it; Python is not to warn of that.
    recorder.returncode = recorder.returncode or 0
