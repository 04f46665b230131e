"""The first record of every connection: what is being trained, by whom, with what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Hello:
    """One training process as its agent introduces it."""

    pid: int
    #: The run's name: as given to `watch`, else the script's file name.
    name: str
    host: str
    user: str
    #: The process's command line.
    command: tuple[str, ...]
    #: Unix time at which the agent began to observe, seconds.
    started_s: float
    #: Scalar parameters of all watched roots, shared ones counted once; trainable ones among them.
    parameters: int
    trainable_parameters: int
    #: Devices that hold parameters, such as ("cpu",) or ("cuda:0",).
    devices: tuple[str, ...]
    #: Data types of the parameters, most frequent first.
    dtypes: tuple[str, ...]
    python: str
    torch: str
    #: The version of tuimon that runs in the training process.
    tuimon: str
    #: Implementation of the kernels by device type, such as {"cpu": "numba"}.
    kernels: Mapping[str, str] = field(default_factory=dict)
    #: What can be seen: "on", or the reason why not, by probe ("activations", "loss", ...).
    probes: Mapping[str, str] = field(default_factory=dict)
    #: Share of step time the agent may use; None when a fixed cadence was asked for.
    budget_ratio: float | None = None
    #: Fixed cadence in steps; None when the budget decides.
    every: int | None = None
    rank: int | None = None
    world_size: int | None = None
    #: Names of the optimizers' classes, in the order first seen.
    optimizers: tuple[str, ...] = ()
