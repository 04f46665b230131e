"""Following the trainings in a command while it runs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from tuimon.attach.discovery import attach_to
from tuimon.attach.errors import AttachError
from tuimon.attach.events import Ended, Event
from tuimon.attach.injection.warming import warm_kernels
from tuimon.attach.meeting import Meeting, Member
from tuimon.attach.process import process_facts
from tuimon.attach.source import Source
from tuimon.cli.following import Write
from tuimon.cli.lines import last_step, number, percent
from tuimon.cli.recordfile import RecordFile
from tuimon.records.alert import AlertState, Severity
from tuimon.session.change import AlertChanged, Change
from tuimon.session.follow import follow
from tuimon.session.session import Session
from tuimon.wire.commands import Subscribe

#: How often to look whether a training has begun, seconds. Nothing is lost meanwhile: the agent remembers.
LOOK_S = 0.1
#: How long it matters to be quick in finding compiled kernels for a process, and how often to look later on.
EARLY_S, RARELY_S = 60.0, 1.0

#: How long other ranks than 0 may be alone, seconds, before one is followed: 0 may be on another machine.
RANK_PATIENCE_S = 5.0


class Beside:
    """Follows the first training of the command, then the next that begins after it, and so on.

    Of several ranks it follows the one with the lowest number on this machine.

    Args:
        meeting: where trainings announce themselves.
        ended: set once the command has ended.
        writes: what takes the changes of the sessions.
        kept: where they are recorded.
        fail_on: the level of alerts to look out for.
    """

    def __init__(
        self,
        meeting: Meeting,
        ended: threading.Event,
        writes: Sequence[Write],
        kept: RecordFile | None = None,
        fail_on: Severity | None = None,
    ) -> None:
        self._meeting, self._ended, self._kept, self._fail_on = meeting, ended, kept, fail_on
        self._writes = tuple(writes) if kept is None else (*writes, kept.write)
        self._subscribe = Subscribe(histograms=kept is not None)
        self._followed: list[tuple[Member, Session]] = []
        self._unheard: dict[int, str] = {}
        self._alone_since_s: float | None = None
        #: Whether an alert of the level asked for fired.
        self.alerted = False

    def follow(self) -> None:
        """Follow what there is to follow until the command has ended."""
        threading.Thread(target=self._warm, name="tuimon-warming", daemon=True).start()
        try:
            self._follow_all()
        finally:
            if self._kept is not None:
                self._kept.close()

    def _follow_all(self) -> None:
        while True:
            over = self._ended.is_set()
            member = self._next(over)
            if member is not None:
                self._follow(member)
            elif over:
                return
            else:
                self._ended.wait(LOOK_S)

    def summary(self) -> str:
        """What was observed and what fired, or why nothing was, in one line."""
        heard = [(member, session) for member, session in self._followed if session.hello is not None]
        if not heard:
            why = next(iter(self._unheard.values()), None)
            return f"nothing was observed: {why or self._meeting.silence()}"
        told = [_observed(member, session) for member, session in heard]
        known = {member.pid for member, _ in heard}
        others = [m.label for m in self._meeting.members() if m.agent and m.pid not in known]
        return "; ".join([*told, *([f"not followed: {', '.join(others)}"] if others else [])])

    def _warm(self) -> None:
        """Tell each process where kernels are that were compiled for its Python, compiling them where needed.

        That takes some 15 s, once; trainings that have taken their first step by then do without.
        """
        known: set[int] = set()
        began_s = time.monotonic()
        while not self._ended.wait(LOOK_S if time.monotonic() - began_s < EARLY_S else RARELY_S):
            for member in self._meeting.members():
                if member.pid not in known:
                    known.add(member.pid)
                    with suppress(ProcessLookupError):
                        facts = process_facts(member.pid)
                        kernels = warm_kernels(facts, lambda _: None, self._ended.is_set)
                        if kernels is not None:
                            self._meeting.tell_kernels(member.pid, kernels)

    def _next(self, over: bool) -> Member | None:
        known = {member.pid for member, _ in self._followed} | self._unheard.keys()
        new = [member for member in self._meeting.members() if member.agent and member.pid not in known]
        for member in new:
            if member.rank in (None, 0):
                return member
        if not new or any(member.rank is not None for member, _ in self._followed):
            return None
        if self._alone_since_s is None:
            self._alone_since_s = time.monotonic()
        if not over and time.monotonic() - self._alone_since_s < RANK_PATIENCE_S:
            return None
        return min(new, key=lambda member: member.rank or 0)

    def _follow(self, member: Member) -> None:
        session = Session()

        def open_source(deliver: Callable[[Event], None]) -> Source:
            return attach_to(member.pid, deliver, self._subscribe)

        def left_behind() -> bool:
            if self._kept is not None:
                self._kept.commit_if_due()
            return self._ended.is_set() and _goes_on(member)

        try:
            for change in follow(session, open_source, left_behind):
                self._take(member, session, change)
        except AttachError as error:
            self._unheard[member.pid] = str(error)
            return
        self._followed.append((member, session))
        if session.connection.status != "ended":
            for change in session.apply(Ended(f"the command has ended; {member.label} goes on")):
                self._take(member, session, change)

    def _take(self, member: Member, session: Session, change: Change) -> None:
        if session.hello is None:
            return  # the connection comes before the introduction
        self._meeting.tell_followed(member.pid)
        for write in self._writes:
            write(session, change)
        if isinstance(change, AlertChanged) and change.alert.state is AlertState.FIRING:
            self.alerted |= self._fail_on is not None and change.alert.severity >= self._fail_on


def _goes_on(member: Member) -> bool:
    try:
        return not process_facts(member.pid).ended
    except ProcessLookupError:
        return False


def _observed(member: Member, session: Session) -> str:
    """How far a training came, what watching it cost, and what fired."""
    name = member.label if session.hello is None else f"{session.hello.name}, {member.label}"
    if session.last is None:
        return f"{name}: ended before the first observed step"
    losses = session.history.scalar("loss").present.values
    begun, ended = (float(losses[0]), float(losses[-1])) if len(losses) else (None, None)
    told = f"{name}: step {last_step(session)}, loss {number(begun)} -> {number(ended)}"
    cost = f"watching cost {percent(session.last.overhead_ratio)}"
    return f"{told}, {cost}, {', '.join(_fired(session)) or 'no alert fired'}"


def _fired(session: Session) -> list[str]:
    fired = []
    for rule, told in session.digest().items():
        where = told["where"]
        place = f" at {where[0]}" if isinstance(where, list) and where else ""
        now = "" if told["active"] else " (resolved)"
        fired.append(f"{told['severity']} {rule}{place} since step {told['since_step']}{now}")
    return fired
