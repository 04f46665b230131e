"""Finding the trainings of this machine, and the way into one of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tuimon.attach.ask import ask
from tuimon.attach.errors import (
    AttachError,
    NoAgent,
    NoSuchProcess,
    NoTorch,
    NotPython,
    OtherUser,
    SeveralTrainings,
    StaleSocket,
)
from tuimon.attach.events import Event
from tuimon.attach.injection.entering import LEAVE_AFTER_S, enter
from tuimon.attach.injection.entrance import Entrance
from tuimon.attach.injection.preflight import check
from tuimon.attach.process import (
    PROC,
    ProcessFacts,
    all_processes,
    has_torch,
    is_running,
    process_facts,
    root_directory,
    runs_python,
    runtime_directory,
)
from tuimon.attach.ranks import Processes, Training, one_job
from tuimon.attach.source import Source
from tuimon.attach.transport import UnixTransport, user_name
from tuimon.wire.commands import Subscribe
from tuimon.wire.paths import directory_candidates, socket_path
from tuimon.wire.unix import is_listening

#: Agents asked at the same time by `list_trainings`; asking is waiting.
_ASKED_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class TrainingProcess:
    """One line of `tuimon list`."""

    pid: int
    user: str
    command: tuple[str, ...]
    #: Where it runs, as the person named that place; None on this machine.
    host: str | None = None
    #: The run's name; None where no agent tells.
    name: str | None = None
    #: Such as "torch 2.13.0"; without the version where no agent tells it.
    framework: str | None = None
    devices: tuple[str, ...] = ()
    #: Newest step that the agent has seen; None where it has seen none.
    step: int | None = None
    #: Which rank it is, and of how many; None where it trains alone.
    rank: int | None = None
    world_size: int | None = None
    #: The process that launched the ranks; None where none is to be seen.
    launcher: int | None = None
    attachable: bool = False
    #: The same in one word: "yes", "enter" (attaching brings tuimon in), or what stands in the way.
    word: str = "no"
    #: Why one cannot attach, and what to do; None when one can.
    reason: str | None = None
    socket: Path | None = None
    #: Whether attaching has to enter the process first: it runs without tuimon so far.
    enters: bool = False


def list_trainings(proc: Path = PROC, timeout_s: float = 1.0) -> list[TrainingProcess]:
    """Every process of this machine in which an agent listens, and every other one that has
    loaded PyTorch, ascending by pid. Only what this user may look into is found.

    Takes at most about `timeout_s` for agents that do not answer; they are listed with that reason.
    """
    processes = [p for p in all_processes(proc) if _may_look_into(p)]
    sockets = {p.pid: path for p in processes if (path := _listening_socket(p, proc)) is not None}
    with ThreadPoolExecutor(_ASKED_AT_ONCE, "tuimon-ask") as pool:
        agents = [p for p in processes if p.pid in sockets]
        asked = pool.map(lambda p: _introduced(p, sockets[p.pid], timeout_s), agents)
        trainings = {t.facts.pid: t for t in Processes(processes, sockets.keys(), proc).trainings()}
        silent = [
            _without_agent(t.facts, proc)
            for pid, t in trainings.items()
            if pid not in sockets and pid != os.getpid()
        ]
        found = [*asked, *(training for training in silent if training is not None)]
        return sorted(
            (_placed(training, trainings[training.pid]) for training in found),
            key=lambda training: training.pid,
        )


def standing_for(pid: int, proc: Path = PROC) -> list[Training]:
    """The trainings that a launcher's pid stands for, rank 0 first; none where the process itself is meant.

    That is so for every process which trains itself, or starts none that does.

    Raises:
        SeveralTrainings: it has started some that are not the ranks of one job (a login shell, process 1).
    """
    processes = [p for p in all_processes(proc) if _may_look_into(p)]
    watched = {p.pid for p in processes if _listening_socket(p, proc) is not None}
    found = Processes(processes, watched, proc).below(pid)
    if not one_job(found):
        raise SeveralTrainings(pid, [training.facts.pid for training in found])
    return found


def find_socket(pid: int, proc: Path = PROC) -> Path:
    """The socket of the agent in that process.

    Raises:
        AttachError: there is none, told apart by why: `NoSuchProcess`, `OtherUser`, `NotPython`,
            `NoTorch`, `NoAgent`, `StaleSocket`.
    """
    return _find(_facts(pid, proc), proc)


def transport_to(pid: int, proc: Path = PROC) -> UnixTransport:
    """The way to the agent in that process.

    Raises:
        AttachError: as `find_socket`.
    """
    facts = _facts(pid, proc)
    return UnixTransport(_find(facts, proc), pid, facts.uid)


def attach_to(
    pid: int,
    deliver: Callable[[Event], None],
    subscribe: Subscribe | None = None,
    proc: Path = PROC,
) -> Source:
    """A source for the agent in that process, not started yet.

    Raises:
        AttachError: as `find_socket`.
    """
    facts = _facts(pid, proc)
    return _source(facts, _find(facts, proc), deliver, subscribe, proc)


def attach_or_enter(
    pid: int,
    deliver: Callable[[Event], None],
    options: Mapping[str, Any],
    subscribe: Subscribe | None = None,
    proc: Path = PROC,
) -> Source | Entrance:
    """As `attach_to`, but a process without an agent is entered, once the source is started.

    `options` are for the agent that is brought in (see `tuimon.agent.enter.enter`).

    Raises:
        AttachError: as `find_socket`; and why the process cannot be entered, as far as that is known now.
    """
    facts = _facts(pid, proc)
    try:
        return _source(facts, _find(facts, proc), deliver, subscribe, proc)
    except NoAgent:
        check(facts, proc)

    def find() -> Path | None:
        return _listening_socket(facts, proc)

    def bring_in(stopped: Callable[[], bool], tell: Callable[[str], None]) -> Source:
        path = enter(facts, {"leave_after_s": LEAVE_AFTER_S, **options}, find, proc, stopped, tell)
        return _source(facts, path, deliver, subscribe, proc)

    return Entrance(bring_in, deliver)


def way_in(
    pid: int,
    options: Mapping[str, Any],
    tell: Callable[[str], None] = lambda _: None,
    proc: Path = PROC,
) -> tuple[UnixTransport, int]:
    """The way to the agent in that process, and the process's start time in clock ticks since boot.

    A process without an agent is entered before this returns; `options` as for `attach_or_enter`;
    `tell` takes what a person who waits should know. A launcher stands for its first rank.

    Raises:
        AttachError: there is no agent, and none can be brought in.
    """
    facts = _facts(pid, proc)
    if ranks := standing_for(pid, proc):
        facts = ranks[0].facts
    try:
        path = _find(facts, proc)
    except NoAgent:
        check(facts, proc)
        stay = {"leave_after_s": LEAVE_AFTER_S, **options}
        path = enter(facts, stay, lambda: _listening_socket(facts, proc), proc, tell=tell)
    return UnixTransport(path, facts.pid, facts.uid), facts.start_time_ticks


def _source(
    facts: ProcessFacts,
    path: Path,
    deliver: Callable[[Event], None],
    subscribe: Subscribe | None,
    proc: Path,
) -> Source:
    def alive() -> bool:
        return is_running(facts.pid, facts.start_time_ticks, proc)

    return Source(UnixTransport(path, facts.pid, facts.uid), deliver, alive, subscribe=subscribe)


def _facts(pid: int, proc: Path) -> ProcessFacts:
    try:
        facts = process_facts(pid, proc)
    except ProcessLookupError:
        raise NoSuchProcess(pid) from None
    if facts.ended:
        raise NoSuchProcess(pid)
    return facts


def _find(facts: ProcessFacts, proc: Path) -> Path:
    if not _may_look_into(facts):
        raise OtherUser(facts.pid, user_name(facts.uid))
    dead: Path | None = None
    for path in _possible_sockets(facts, proc):
        match _is_listening(path):
            case True:
                return path
            case False:
                dead = path
    if dead is not None:
        raise StaleSocket(facts.pid, dead)
    if not runs_python(facts, proc):
        raise NotPython(facts.pid, " ".join(facts.command)[:60])
    if not has_torch(facts, proc):
        raise NoTorch(facts.pid)
    raise NoAgent(facts.pid)


def _may_look_into(facts: ProcessFacts) -> bool:
    return os.geteuid() in (0, facts.uid)


def _possible_sockets(facts: ProcessFacts, proc: Path) -> list[Path]:
    """Where the process's agent may listen, seen from here."""
    root = root_directory(facts, proc)
    own = runtime_directory(facts, proc)
    directories = [*([] if own is None else [own / "tuimon"]), *directory_candidates(facts.uid)]
    return [
        socket_path(facts.inner_pid, facts.start_time_ticks, root / directory.relative_to("/"))
        for directory in dict.fromkeys(directories)
    ]


def _is_listening(path: Path) -> bool | None:
    """None where there is no socket, or none that this user may touch."""
    try:
        return is_listening(path)
    except OSError:
        return None


def _listening_socket(facts: ProcessFacts, proc: Path) -> Path | None:
    return next((path for path in _possible_sockets(facts, proc) if _is_listening(path)), None)


def _introduced(facts: ProcessFacts, path: Path, timeout_s: float) -> TrainingProcess:
    training = TrainingProcess(facts.pid, user_name(facts.uid), facts.command, framework="torch", socket=path)
    try:
        hello, step = ask(UnixTransport(path, facts.pid, facts.uid, timeout_s), timeout_s)
    except (AttachError, OSError) as error:
        return replace(
            training, reason=str(error), word=error.word if isinstance(error, AttachError) else "no"
        )
    return replace(
        training,
        name=hello.name,
        framework=f"torch {hello.torch}",
        devices=hello.devices,
        step=step,
        rank=hello.rank,
        world_size=hello.world_size,
        attachable=True,
        word="yes",
    )


def _placed(training: TrainingProcess, among: Training) -> TrainingProcess:
    """With its rank: as the agent tells it, else as the processes around it do."""
    rank, world_size = training.rank, training.world_size
    if rank is None:
        rank, world_size = among.rank, among.world_size
    return replace(training, rank=rank, world_size=world_size, launcher=among.launcher)


def _without_agent(facts: ProcessFacts, proc: Path) -> TrainingProcess | None:
    """None of one that has ended meanwhile."""
    training = TrainingProcess(facts.pid, user_name(facts.uid), facts.command, framework="torch")
    try:
        check(facts, proc)
    except NoSuchProcess:
        return None
    except AttachError as error:
        return replace(training, reason=str(error), word=error.word)
    return replace(training, attachable=True, enters=True, word="enter")
