"""How the agent introduces the training to a viewer."""

from __future__ import annotations

import getpass
import os
import platform
import socket
import sys
from typing import TYPE_CHECKING

import torch

from tuimon.agent.finding.forwards import compiled_code
from tuimon.agent.reading.shards import rank, whole_shape, world_size
from tuimon.agent.stance import LABEL
from tuimon.records.hello import Hello
from tuimon.version import __version__

if TYPE_CHECKING:
    from tuimon.agent.agent import Agent


def introduce(agent: Agent, name: str | None, started_s: float) -> Hello:
    """The introduction as things stand now; called in the publisher's thread."""
    # A torch.compile or DDP wrapper does not change who is who; shared parameters are listed once.
    parameters = [p.tensor for p in list(agent.inventory.parameters)]
    known = agent.optimizers.names()
    return Hello(
        pid=os.getpid(),
        name=name or script_name(),
        host=socket.gethostname(),
        user=_user(),
        command=command_line(),
        started_s=started_s,
        parameters=sum(p.numel() for p in parameters),
        trainable_parameters=sum(p.numel() for p in parameters if p.requires_grad),
        devices=agent.inventory.devices,
        dtypes=agent.inventory.dtypes,
        python=platform.python_version(),
        torch=str(torch.__version__),
        tuimon=__version__,
        kernels={"cpu": agent.backend.name},
        probes=probes(agent),
        budget_ratio=None if agent.schedule.fixed else agent.schedule.budget_ratio,
        every=agent.schedule.fixed,
        rank=rank(),
        world_size=world_size(),
        optimizers=known,
    )


def probes(agent: Agent) -> dict[str, str]:
    """What can be seen, by probe: "on", or the reason why not."""
    elsewhere = [device for device in agent.inventory.devices if not device.startswith("cpu")]
    missing = agent.discovery.reason if agent.discovery is not None else None
    seen = "on"
    if missing is not None and not agent.inventory.parameters:
        seen = missing
    elif elsewhere:
        seen = f"no kernels for {', '.join(elsewhere)} yet"
    layers = hidden_layers(agent) or "on" if seen == "on" else seen
    shown = {
        "loss": seen,
        "criteria": agent.window.criteria.status(agent.late_samples) if seen == "on" else seen,
        "gradients": seen,
        "clip": seen,
        "updates": seen,
        "activations": layers,
        "output_gradients": layers,
    }
    if any(whole_shape(p.tensor) for p in list(agent.inventory.parameters)):
        place = "this rank" if rank() is None else f"rank {rank()} of {world_size()}"
        shown["other_ranks"] = (
            f"parameters are divided among the ranks; norms and values are of the part of {place}"
        )
    if missing is not None and seen != missing:
        shown["names"] = missing
    if (eager := agent.window.eager) is not None:
        shown["eager_step"] = LABEL if eager.available else "PyTorch 2.6 or newer is needed for that"
    return shown


def hidden_layers(agent: Agent) -> str | None:
    """Why no layer, or not each, can be seen; None where they can."""
    points = list(agent.inventory.points)
    compiled = sum(point.compiled for point in points)
    if compiled:
        which = "the" if compiled == len(points) else f"{compiled} of {len(points)}"
        return f"{which} layers run inside compiled code"
    if agent.samples > agent.late_samples and not any(point.order is not None for point in points):
        if compiled_code():
            return "no layer's forward was seen: the model is called inside compiled code"
        return "no layer's forward was called as a module's"
    return None


def script_name() -> str:
    """The name of the script that runs, or of the interpreter's mode without one."""
    return os.path.basename(sys.argv[0]) if sys.argv and sys.argv[0] not in ("", "-c") else "python"


def command_line() -> tuple[str, ...]:
    """This process's command line; decoded so that it can travel."""
    return tuple(argument.encode("utf-8", "replace").decode() for argument in sys.orig_argv)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())

