"""Processes of other Pythons to be entered, without torch; and what stands in for the agent in them."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import tuimon
from tuimon.attach.injection import bundle
from tuimon.attach.process import ProcessFacts, process_facts

GDB = shutil.which("gdb")

#: In place of `tuimon.agent.enter`: listens, and says in the process that it does.
ENTER = """
import os
from pathlib import Path
from tuimon.wire.paths import process_start_ticks, socket_path
from tuimon.wire.unix import bind_unix
listening = []
def enter(options):
    listening.append(bind_unix(socket_path(os.getpid(), process_start_ticks(os.getpid()))))
    print("entered", len(listening), options["how"], flush=True)
"""


def archive(enter: str = ENTER) -> bytes:
    """As `bundle.archive`, of what needs no torch."""
    root = Path(tuimon.__path__[0])
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        names = ["__init__.py", "version.py", "records/__init__.py", "agent/bootstrap.py"]
        for name in (*names, *(f"wire/{path.name}" for path in (root / "wire").glob("*.py"))):
            file.write(root / name, f"tuimon/{name}")
        for path in (root / "records").glob("*.py"):
            if path.name != "__init__.py":
                file.write(path, f"tuimon/records/{path.name}")
        file.writestr("tuimon/agent/__init__.py", "")
        file.writestr("tuimon/agent/enter.py", enter)
        for name in ("__init__", "reference"):
            file.writestr(f"tuimon_kernels/{name}.py", "")
    return buffer.getvalue()


def pythons() -> dict[str, str]:
    """Interpreters of this machine that could be entered, by a short name."""
    found = {"own": os.path.realpath(sys.executable)}
    for path in sorted(Path.home().glob(".pyenv/versions/3.1[0-9].*/bin/python3")):
        found[path.parent.parent.name] = str(path)
    if os.path.exists("/usr/bin/python3"):
        found["distribution"] = "/usr/bin/python3"
    return found


#: Busy with Python code until its standard input closes; its last word: whether a name was added to its
#: namespace, and how many threads there are.
BUSY = """
import sys, threading
ended = threading.Event()
def read():
    sys.stdin.read()
    ended.set()
reader = threading.Thread(target=read, daemon=True)
reader.start()
n, names = 0, []
names = list(globals())
print("busy", flush=True)
while not ended.is_set():
    n += 1
    ended.wait(0.001)
reader.join()
print("ended", list(globals()) == names, threading.active_count(), flush=True)
"""
#: What it says when all is well.
ENDED = "ended True 1\n"

#: In one call that never returns to Python while it waits.
BLOCKED = "import sys; print('blocked', flush=True); sys.stdin.read(); print('ended', flush=True)"


@contextmanager
def running(
    program: str, python: str = sys.executable, **settings: object
) -> Iterator[subprocess.Popen[str]]:
    """A process that has said its first word; it ends by itself when its standard input closes."""
    process = subprocess.Popen(
        [python, "-S", "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **settings,  # type: ignore[call-overload]
    )
    assert process.stdout is not None
    process.stdout.readline()
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def facts_of(process: subprocess.Popen[str]) -> ProcessFacts:
    return process_facts(process.pid)


def left_behind(directory: Path) -> list[str]:
    """What is there of bundles."""
    return [name for name in os.listdir(directory) if name.startswith("tuimon-")]


def is_bundle_name(name: str) -> bool:
    return name in (bundle.ARCHIVE, bundle.OPTIONS, bundle.REPORT, bundle.SCRIPT)
