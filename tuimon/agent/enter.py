"""Begin to watch a process although its script never said so."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuimon.agent.choice import kernels_for
from tuimon.agent.pacing.schedule import Schedule
from tuimon.agent.watcher import Watcher, joined, wait_for_goodbyes
from tuimon_kernels import reference

#: Share of the training's time that watching may cost, unless the options say otherwise.
BUDGET_RATIO = 0.01


@dataclass(frozen=True, slots=True)
class Options:
    """What an attacher, or `tuimon run`, may ask for; see `enter`."""

    directory: Path | None = None
    name: str | None = None
    budget: float = BUDGET_RATIO
    every: int | None = None
    activations: str = "auto"
    leave_after_s: float | None = None
    how: str = "injected"

    @classmethod
    def read(cls, options: Mapping[str, Any]) -> Options:
        """The known ones among `options`; null stands for the default."""
        known = {name: options[name] for name in cls.__slots__ if options.get(name) is not None}
        if "directory" in known:
            known["directory"] = Path(known["directory"])
        return cls(**known)


def enter(options: Mapping[str, Any]) -> None:
    """Watch whatever trains in this process. Viewers can connect when this returns, if not before.

    What trains is found over the next one or two steps. An agent that is here already is joined: it goes on
    as it is, and listens again if it did not. For an injection this is called on a thread of its own; for
    `tuimon run` on the thread that trains, at its first step, where what trains is found at once.

    Args:
        options: JSON values, each of them optional: `directory` (of the socket), `name` (of the run),
            `budget` (share of the training's time), `every` (steps between samples, whatever they cost),
            `activations` ("auto", or "eager-step": run each observed step uncompiled), `leave_after_s`
            (leave when nobody has looked for so long; null to stay), `how` ("injected" or "run"),
            `kernels` (see `kernels_for`). Others are ignored.

    Raises:
        OSError: no socket can be made, so nobody could look; nothing is left in the process then.
    """
    asked, began_s = Options.read(options), time.monotonic()
    wait_for_goodbyes()

    def make() -> Watcher:
        schedule = Schedule(asked.budget, asked.every, joins_late=asked.how == "injected")
        return Watcher(asked.name, schedule, reference.BACKEND, asked.directory)

    watcher, new = joined(make)
    watcher.stay()
    try:
        watcher.listen()
        if new:
            watcher.agent.backend = kernels_for(options)
            # What this thread has used so far, or the training has waited, is a part of what watching costs.
            own_s = time.thread_time() if asked.how == "injected" else time.monotonic() - began_s
            watcher.agent.meter.own_s += own_s
            watcher.agent.schedule.owe(own_s)
            if asked.activations == "eager-step":
                watcher.agent.run_observed_steps_uncompiled()
            watcher.discover(here=asked.how == "run")
            # Only now: on a busy machine the kernels may take longer than nobody looks.
            watcher.stay()
            watcher.leave_after_s = asked.leave_after_s
    except BaseException:
        if new:
            watcher.end("closed")
        raise
    watcher.greet()
