"""Following a run without a screen, to its end or to the end of what was asked for."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from tuimon.attach.discovery import attach_or_enter, standing_for
from tuimon.attach.errors import AttachError
from tuimon.attach.events import Ended, Event
from tuimon.attach.injection.entrance import Entrance
from tuimon.attach.mailbox import Mailbox
from tuimon.attach.source import Source
from tuimon.cli.exits import ALERTED, FINE, Failure
from tuimon.records.alert import AlertState, Severity
from tuimon.session.change import AlertChanged, Change, Compared, ConnectionChanged, Sampled
from tuimon.session.connection import ConnectionState
from tuimon.session.follow import follow
from tuimon.session.replay import Replay
from tuimon.session.session import Session
from tuimon.wire.commands import Cadence, Subscribe

#: How long to try before a training that never answered is given up, seconds.
PATIENCE_S = 10.0

#: Writes what one change of the session says.
Write = Callable[[Session, Change], None]

#: Makes a source, not started yet, from the function that it shall deliver to.
OpenSource = Callable[[Callable[[Event], None]], Source | Entrance | Replay]


@dataclass(frozen=True, slots=True)
class Until:
    """When to stop following; by default at the end of the run."""

    #: Samples to write, the past that the training remembers included.
    steps: int | None = None
    #: Time to follow, seconds.
    for_s: float | None = None
    #: Stop as soon as an alert of this level or above fires.
    alert: Severity | None = None
    #: Stop as soon as the measurement that has this token is over.
    measured: str | None = None


def follow_process(
    pid: int,
    write: Write,
    until: Until | None = None,
    *,
    cadence: Cadence | None = None,
    histograms: bool = False,
    session: Session | None = None,
    options: Mapping[str, object] | None = None,
) -> int:
    """Follow the training in that process; see `follow_source`.

    A process without an agent is entered, which is said on stderr first; `options` are for that agent.
    """
    return follow_source(
        lambda deliver: source_of(pid, deliver, histograms=histograms, options=options),
        write, until, cadence=cadence, session=session,
    )  # fmt: skip


def follow_source(
    open_source: OpenSource,
    write: Write,
    until: Until | None = None,
    *,
    cadence: Cadence | None = None,
    session: Session | None = None,
    mailbox: Mailbox | None = None,
) -> int:
    """Follow what a source tells, handing every change to `write`; the exit code.

    Ctrl-C and SIGTERM end it in good order, with the digest.

    Raises:
        Failure: there is no agent to be found or none that answers.
    """
    session = session or Session()
    sources: list[Source | Entrance | Replay] = []

    def opened(deliver: Callable[[Event], None]) -> Source | Entrance | Replay:
        sources.append(open_source(deliver))
        return sources[0]

    follower = _Follower(session, write, until or Until())
    try:
        with _terminable():
            for change in follow(session, opened, follower.is_done, mailbox=mailbox):
                if cadence is not None and _is_live(change):
                    sources[0].send(cadence)
                follower.take(change)
    except KeyboardInterrupt:
        follower.reason = "interrupted"
    follower.finish()
    return ALERTED if follower.alerted else FINE


class _Follower:
    """Writes changes and decides when enough is written."""

    def __init__(self, session: Session, write: Write, until: Until) -> None:
        self._session = session
        self._write = write
        self._until = until
        self._began_s = time.monotonic()
        self._samples = 0
        #: Why to stop; None as long as there is no reason.
        self.reason: str | None = None
        #: Whether an alert of the level asked for fired.
        self.alerted = False

    def is_done(self) -> bool:
        """Whether there is a reason to stop; asked between events, many times a second."""
        limit_s = self._until.for_s
        if self.reason is None and limit_s is not None and self._elapsed_s() >= limit_s:
            self.reason = f"watched for {limit_s:g} s"
        return self.reason is not None

    def take(self, change: Change) -> None:
        """Write one change.

        Raises:
            Failure: the training cannot be heard, and never could.
        """
        if isinstance(change, ConnectionChanged) and self._session.hello is None:
            if change.state.status == "connecting" and change.state.reason is not None:
                print(change.state.reason, file=sys.stderr, flush=True)
            self._expect_an_answer(change.state)
            return
        self._write(self._session, change)
        match change:
            case Sampled():
                self._samples += 1
                if self._samples == self._until.steps:
                    self.reason = f"watched {self._samples} observed steps"
            case Compared(trial) if trial.done and self._until.measured in trial.asked:
                self.reason = "measured what watching costs"
            case AlertChanged(alert) if alert.state is AlertState.FIRING:
                if self._until.alert is not None and alert.severity >= self._until.alert:
                    self.alerted = True
                    self.reason = f"{alert.rule} fired"

    def finish(self) -> None:
        """Write the digest, unless the training's own end already did."""
        if self._session.connection.status != "ended":
            for change in self._session.apply(Ended(self.reason or "stopped")):
                self._write(self._session, change)

    def _expect_an_answer(self, state: ConnectionState) -> None:
        late = self._elapsed_s() >= PATIENCE_S
        if state.status == "ended" or (state.status == "reconnecting" and late):
            raise Failure(state.reason or "the training has ended")

    def _elapsed_s(self) -> float:
        return time.monotonic() - self._began_s


def source_of(
    pid: int,
    deliver: Callable[[Event], None],
    *,
    histograms: bool,
    options: Mapping[str, object] | None = None,
) -> Source | Entrance:
    """A source for the agent in that process, not started yet; it enters a process that has none.

    A launcher's pid stands for its first rank, which is said on stderr.

    Raises:
        Failure: there is no agent to be found, and none can be brought in.
    """
    try:
        if ranks := standing_for(pid):
            pid = ranks[0].facts.pid
            others = f"; {len(ranks) - 1} more not followed" if len(ranks) > 1 else ""
            print(f"following {ranks[0].label}{others}", file=sys.stderr, flush=True)
        source = attach_or_enter(pid, deliver, options or {}, Subscribe(histograms=histograms))
    except AttachError as error:
        raise Failure(str(error)) from None
    if isinstance(source, Source) and (options or {}).get("activations") == "eager-step":
        told = f"tuimon is inside process {pid} already, and stays as it is: --activations has no effect"
        print(told, file=sys.stderr, flush=True)
    return source


def _is_live(change: Change) -> bool:
    return isinstance(change, ConnectionChanged) and change.state.status == "live"


@contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM end it as Ctrl-C does, so that `timeout 60 tuimon record PID` has its digest."""

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
