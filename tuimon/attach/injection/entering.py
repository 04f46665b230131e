"""Entering a training that has never heard of tuimon: look, write, have one line run, wait for the socket."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tuimon.attach.errors import NoSuchProcess
from tuimon.attach.injection import remote_exec
from tuimon.attach.injection.bundle import SCRIPT, Bundle, place
from tuimon.attach.injection.entry_errors import DiedEntering, EntryBusy, EntryFailed, GivenUp, NotExecuting
from tuimon.attach.injection.gdb import queue_line
from tuimon.attach.injection.preflight import REMOTE, Interpreter, debugger, examine
from tuimon.attach.injection.warming import warm_kernels
from tuimon.attach.inspection.stack import main_thread
from tuimon.attach.process import PROC, ProcessFacts, is_running

#: Until the line must have run. Between two instructions of the main thread it runs at once, so a main
#: thread that has not run any for so long is inside one call.
EXECUTING_S = 10.0
#: From there to a socket that answers: torch is there, some fifty small modules are loaded beside a training.
ANSWERING_S = 60.0
#: How long another attacher may hold the door.
DOOR_S = EXECUTING_S + 5.0

#: How long an agent stays after the last viewer has left, seconds, if it was injected.
LEAVE_AFTER_S = 60.0

_LOOK_S = 0.01


def announcement(pid: int) -> str:
    """What the person is told before a process is entered."""
    return (
        f"entering process {pid}: it pauses for a moment (some 0.02 to 0.2 s); "
        "in a distributed job all ranks wait for it"
    )


def enter(
    facts: ProcessFacts,
    options: Mapping[str, Any],
    find: Callable[[], Path | None],
    proc: Path = PROC,
    stopped: Callable[[], bool] = lambda: False,
    tell: Callable[[str], None] = lambda text: None,
) -> Path:
    """Bring an agent into the process, and return the socket at which it listens.

    One attacher at a time; whoever comes second finds the first one's agent.

    Args:
        facts: the process.
        options: for `tuimon.agent.enter.enter`, values that JSON knows.
        find: the socket of the process's agent; None while there is none.
        proc: where processes are shown.
        stopped: asked while waiting; whether to give up.
        tell: takes what a person who waits should know.

    Raises:
        AttachError: it cannot be entered, or not now; it goes on as it was, and nothing is left behind.
    """
    with _door(facts, proc, stopped):
        found = find()
        if found is not None:
            return found
        interpreter = examine(facts, proc)
        # Whoever names them has seen to it, or wants to do without.
        kernels = None if "kernels" in options else warm_kernels(facts, tell, stopped, proc)
        if stopped():
            raise GivenUp(facts.pid)
        tell(announcement(facts.pid))
        told = {"how": "injected", "kernels": kernels, **options}
        bundle = place(facts, told, interpreter.version, proc)
        try:
            _have_run(facts, interpreter, bundle, proc)
            return _wait(facts, bundle, find, proc, stopped)
        finally:
            bundle.remove()


@contextmanager
def _door(facts: ProcessFacts, proc: Path, stopped: Callable[[], bool]) -> Iterator[None]:
    """Held by one attacher at a time, whoever it is; nothing is written for it."""
    began_s = time.monotonic()
    try:
        # A file of the process's own that all attachers see, and that goes with it.
        file = (proc / str(facts.pid) / "stat").open("rb")
    except OSError:
        raise NoSuchProcess(facts.pid) from None
    with file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if stopped():
                    raise GivenUp(facts.pid) from None
                if (waited_s := time.monotonic() - began_s) > DOOR_S:
                    raise EntryBusy(facts.pid, round(waited_s)) from None
            time.sleep(_LOOK_S)
        yield


def _have_run(facts: ProcessFacts, interpreter: Interpreter, bundle: Bundle, proc: Path) -> None:
    if interpreter.version is not None and interpreter.version >= REMOTE:
        try:
            remote_exec.run_script(facts, f"{bundle.inner}/{SCRIPT}", proc)
            return
        except remote_exec.NoRemoteExec as error:
            # It can be switched off when Python starts; gdb needs nothing of it.
            if debugger() is None:
                raise EntryFailed(facts.pid, f"sys.remote_exec: {error}") from None
    queue_line(facts.pid, interpreter, bundle.line)


def _wait(
    facts: ProcessFacts,
    bundle: Bundle,
    find: Callable[[], Path | None],
    proc: Path,
    stopped: Callable[[], bool],
) -> Path:
    """Until the socket is there, which is the only success."""
    began_s = time.monotonic()
    while True:
        found, told = find(), bundle.report()
        if found is not None:
            return found
        waited_s = time.monotonic() - began_s
        if told.get("state") == "failed":
            raise EntryFailed(facts.pid, " ".join(told.get("error", "").split()))
        if stopped():
            raise GivenUp(facts.pid)
        if not is_running(facts.pid, facts.start_time_ticks, proc):
            raise DiedEntering(facts.pid)
        if not told and waited_s > EXECUTING_S:
            where = None
            with suppress(ProcessLookupError):
                where = main_thread(facts.pid, proc).in_words()
            raise NotExecuting(facts.pid, round(waited_s), where)
        if waited_s > ANSWERING_S:
            raise EntryFailed(facts.pid, f"its agent has not answered for {waited_s:.0f} s")
        time.sleep(_LOOK_S)
