"""The agent of this process with its publisher: there is one at a time, whoever asked for it."""

from __future__ import annotations

import atexit
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from multiprocessing.util import Finalize
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from tuimon.agent.agent import Agent
from tuimon.agent.finding.discovery import Discovery
from tuimon.agent.forks import forget_in_children
from tuimon.agent.guard import say
from tuimon.agent.introduction import introduce
from tuimon.agent.publishing.publisher import Publisher
from tuimon.records.sample import Bye, Notice
from tuimon.wire.commands import Detach

if TYPE_CHECKING:
    from tuimon.agent.pacing.schedule import Schedule
    from tuimon.records.hello import Hello
    from tuimon.records.record import Record
    from tuimon.wire.commands import Command
    from tuimon_kernels import Backend

#: A training that is told of a `Detach` obeys at the end of its step. One that has not within this time,
#: since it has left its loop or takes very long steps, is left from the publisher's thread.
GRACE_S = 3.0

#: At most this long `wait_for_goodbyes` waits: longer than a goodbye takes.
_GOODBYE_S = 5.0


class Watcher:
    """One agent, from its beginning to its goodbye.

    Args:
        name: what viewers call the run; by default the script's name.
        schedule: when to look.
        kernels: what reads the tensors.
        directory: where to listen, by default the user's socket directory.
    """

    def __init__(
        self,
        name: str | None,
        schedule: Schedule,
        kernels: Backend,
        directory: Path | None = None,
    ) -> None:
        self._name, self._started_s, self._directory = name, time.time(), directory
        #: Leave when nobody has looked for so long, seconds; None to stay.
        self.leave_after_s: float | None = None
        self._began_s = time.monotonic()
        self.publisher: Publisher | None = None
        self._opening = threading.Lock()
        self.agent = Agent(kernels, schedule, self._publish, self._left)
        self.agent.greet = self.greet
        self._watched: list[nn.Module] = []
        self._errands: deque[Callable[[], None]] = deque()
        #: When a viewer asked the agent to leave, on the monotonic clock.
        self.asked_s: float | None = None
        self._ending = False
        forget_in_children(self)
        atexit.register(self._finished)
        # A rank that multiprocessing forked leaves without atexit; its own way out is this.
        self._leaving = Finalize(None, self._finished, exitpriority=0)

    @property
    def path(self) -> Path | None:
        """The socket; None where nobody can attach."""
        return self.publisher.path if self.publisher is not None else None

    def listen(self) -> None:
        """Let viewers in, if that does not go on already.

        Raises:
            OSError: the socket cannot be made.
        """
        with self._opening:  # two may enter at the same time
            if self.publisher is not None and self.publisher.failed is None:
                return
            self.publisher = None
            publisher = Publisher(
                self._hello, self._command, self._directory, on_turn=self._turn, on_failure=self._deaf
            )
            publisher.start()
            self.publisher = publisher

    def discover(self, *, here: bool = False) -> None:
        """Find the models that train. From any thread.

        Args:
            here: this is the thread that trains, in the middle of its first step: that one is observed, too.
        """
        agent = self.agent
        discovery = Discovery(agent.inventory, agent.guard, agent.meter, self._soon)
        if here:
            discovery.look_now()
        agent.start_from_outside(discovery)
        if here:
            agent.observe_this_step()

    def add(self, roots: list[tuple[str | None, nn.Module]]) -> None:
        """Watch these models."""
        for name, root in roots:
            self.agent.add_root(root, name)
            self._watched.append(root)

    def release(self, roots: list[nn.Module]) -> None:
        """Stop watching these. With the last one the agent leaves, unless it finds models by itself."""
        for root in roots:
            self._watched = [kept for kept in self._watched if kept is not root]
            self.agent.remove_root(root)
        if not self._watched and self.agent.discovery is None:
            self.end("closed")

    def stay(self) -> None:
        """Somebody is about to look: the time after which the agent leaves begins anew."""
        self._began_s = time.monotonic()

    def greet(self) -> None:
        """Introduce the training to each viewer again: more is known of it."""
        if self.publisher is not None:
            self.publisher.greet()

    def end(self, reason: str) -> None:
        """Take the agent out of the process and say goodbye. Idempotent; from any thread."""
        with _lock:
            again, self._ending = self._ending, True
            if _current.get("watcher") is self:
                del _current["watcher"]
            if self.publisher is not None:
                _leaving.add(self.publisher)
        if again:
            wait_for_goodbyes()
            return
        atexit.unregister(self._finished)
        self._leaving.cancel()
        self.agent.stop()
        if self.publisher is not None:
            self.publisher.close(Bye(reason, self.agent.optimizers.step, time.time()))

    def forget(self) -> None:
        """In the child of a fork: it trains nothing, so it is not watched."""
        if _current.get("watcher") is self:
            del _current["watcher"]
        atexit.unregister(self._finished)
        self._leaving.cancel()
        self.agent.stop()

    def _finished(self) -> None:
        self.end("finished")

    def _left(self, reason: str) -> None:
        # From inside a hook: the goodbye may take a moment, and the training does not wait for it.
        threading.Thread(target=self.end, args=(reason,), name="tuimon-leaving", daemon=True).start()

    def _publish(self, record: Record) -> None:
        if self.publisher is not None:
            self.publisher.publish(record)

    # -- on the publisher's thread ---------------------------------------------------------------------

    def _hello(self) -> Hello:
        return introduce(self.agent, self._name, self._started_s)

    def _command(self, command: Command) -> None:
        if isinstance(command, Detach) and self.asked_s is None:
            self.asked_s = time.monotonic()
        self.agent.commands.append(command)

    def _deaf(self) -> None:
        # Nobody can look any more, or ask it to leave. One that is declared might be entered later.
        if self.publisher is not None:
            why = f"process {os.getpid()} is shown to nobody any more, training goes on"
            say(f"{why}: {self.publisher.failed}")
        if self.leave_after_s is not None:
            self._left("closed")

    def _soon(self, errand: Callable[[], None]) -> None:
        self._errands.append(errand)
        if self.publisher is not None:
            self.publisher.wake()

    def _turn(self) -> float | None:
        """Do what is due; return the seconds until something else will be, None if nothing will."""
        try:
            while self._errands:
                self._errands.popleft()()
        except Exception as error:
            self.agent.guard.take(error)
        now_s, due_s = time.monotonic(), self.leave_due_s()
        if due_s is not None and now_s >= due_s:
            self._command(Detach())
        if self.asked_s is not None:
            due_s = self.asked_s + GRACE_S
            if now_s >= due_s and not self._ending:
                self._leave_between()
        return None if due_s is None or self._ending else max(due_s - now_s, 0.0)

    def leave_due_s(self) -> float | None:
        """When to leave because nobody looks, on the monotonic clock; None while somebody does."""
        publisher = self.publisher
        if self.leave_after_s is None or self.asked_s is not None or publisher is None or publisher.viewers:
            return None
        return max(self._began_s, publisher.last_departure_s or 0.0) + self.leave_after_s

    def _leave_between(self) -> None:
        text = f"no step has ended within {GRACE_S:g} s, so tuimon has left without waiting for one"
        self._publish(Notice(self.agent.optimizers.step, time.time(), text))
        self.end("detached")


_lock = threading.Lock()
_current: dict[str, Watcher] = {}
#: Those that say goodbye, or have done so.
_leaving: weakref.WeakSet[Publisher] = weakref.WeakSet()


def current() -> Watcher | None:
    """The watcher of this process, if there is one."""
    return _current.get("watcher")


def joined(make: Callable[[], Watcher]) -> tuple[Watcher, bool]:
    """The watcher of this process, made where there is none; and whether it was made now."""
    with _lock:
        watcher = _current.get("watcher")
        if watcher is not None:
            return watcher, False
        watcher = _current["watcher"] = make()
        return watcher, True


def wait_for_goodbyes() -> None:
    """Until an agent that is leaving this process has given its socket back."""
    for publisher in list(_leaving):
        publisher.wait_closed(_GOODBYE_S)
