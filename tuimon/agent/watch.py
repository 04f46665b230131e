"""The one line in a training script: ``monitor = tuimon.watch(model, optimizer)``."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from tuimon.agent.guard import say
from tuimon.agent.pacing.schedule import Schedule
from tuimon.agent.recorder import record_into
from tuimon.agent.watcher import Watcher, current, joined
from tuimon_kernels import backend, reference

if TYPE_CHECKING:
    from tuimon_kernels import Backend

Models = nn.Module | Mapping[str, nn.Module] | Iterable[nn.Module]


class Monitor:
    """The handle on what watches this process. A second `watch` joins the first one's agent.

    Closing it, or leaving its `with` block, takes every hook out again; the training goes on either way.
    """

    def __init__(self, watcher: Watcher, roots: list[nn.Module]) -> None:
        self._watcher, self._roots = watcher, roots

    @property
    def path(self) -> Path | None:
        """The socket that viewers attach to; None when there is none (said on stderr why)."""
        return self._watcher.path

    def log(self, **values: float) -> None:
        """Report scalars, as `tuimon.log` does."""
        self._watcher.agent.log(_numbers(values))

    def close(self) -> None:
        """Stop watching these models; with the last of them the agent leaves the process. Idempotent."""
        roots, self._roots = self._roots, []
        self._watcher.release(roots)

    def __enter__(self) -> Monitor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _kernels() -> Backend:
    """The kernels of this processor, ready to run."""
    kernels = backend("cpu")
    if kernels is None:
        raise RuntimeError("tuimon has no kernels for this processor")
    # Loading takes a third of a second, compiling on first use on a machine some fifteen.
    patience = threading.Timer(2.0, say, ("compiling its kernels for this processor, once: about 15 s",))
    patience.daemon = True
    patience.start()
    try:
        kernels.warm()
    except Exception as error:  # of a compiler that does not fit this machine
        say(f"its kernels do not compile here ({type(error).__name__}), so plain torch reads the tensors")
        kernels = reference.BACKEND
    patience.cancel()
    return kernels


def _watcher(name: str | None, schedule: Schedule) -> Watcher:
    watcher = Watcher(name, schedule, _kernels())
    try:
        watcher.listen()
    except OSError as error:
        say(f"nobody can attach to process {os.getpid()}: {error}")
    return watcher


def watch(
    model: Models,
    optimizer: torch.optim.Optimizer | Iterable[torch.optim.Optimizer] | None = None,
    *,
    name: str | None = None,
    budget: float = 0.01,
    every: int | None = None,
    record: str | os.PathLike[str] | None = None,
) -> Monitor:
    """Make this training visible to `tuimon attach`, from its next step on.

    Args:
        model: the module that trains; or several, in a mapping by name or in a list.
        optimizer: what trains it; None finds every optimizer that steps the model's parameters.
        name: what viewers call the run; by default the script's name.
        budget: share of the training's time that watching may cost, such as 0.01.
        every: look at each so many steps instead, whatever it costs.
        record: record the run into this file, for `tuimon replay`; another process writes it. Of several
            ranks the first one is recorded.

    Raises:
        TypeError: `model` or `optimizer` is something else.
        ValueError: `budget` is not within (0, 1], or `every` is below 1.
    """
    roots, optimizers = list(_roots(model, name)), _optimizers(optimizer)
    if not 0.0 < budget <= 1.0:
        raise ValueError(f"budget is a share of the training's time within (0, 1], not {budget}")
    if every is not None and every < 1:
        raise ValueError(f"every counts steps from 1, not {every}")
    watcher, new = joined(lambda: _watcher(name, Schedule(budget, every)))
    try:
        watcher.add(roots)
        for one in optimizers:
            watcher.agent.optimizers.positions(one)
        if new:
            watcher.agent.start()
    except Exception as error:  # whatever kind of model this is: its training goes on
        watcher.agent.guard.take(error)
    if not new:
        watcher.greet()
    if record is not None:
        record_into(record, lambda: watcher.publisher is not None and watcher.publisher.viewers > 0)
    return Monitor(watcher, [root for _, root in roots])


def log(**values: float) -> None:
    """Report scalars of your own, such as ``log(val_loss=0.31)``, at any time; nothing happens unwatched.

    Raises:
        TypeError: a value is no number (a tensor of one element is one, if it lies on the CPU).
    """
    numbers = _numbers(values)
    if (watcher := current()) is not None:
        watcher.agent.log(numbers)


def _roots(model: Models, name: str | None) -> Iterator[tuple[str | None, nn.Module]]:
    if isinstance(model, nn.Module):
        yield name, model
        return
    if not isinstance(model, Iterable):
        raise TypeError(f"watch() takes a torch.nn.Module, or several, not {type(model).__name__}")
    named = model.items() if isinstance(model, Mapping) else ((None, one) for one in model)
    for key, one in named:
        if not isinstance(one, nn.Module):
            raise TypeError(f"watch() takes a torch.nn.Module, or several, not {type(one).__name__}")
        yield key, one


def _optimizers(optimizer: Any) -> list[torch.optim.Optimizer]:
    if optimizer is None:
        return []
    several = list(optimizer) if isinstance(optimizer, (list, tuple)) else [optimizer]
    for one in several:
        if not isinstance(one, torch.optim.Optimizer):
            raise TypeError(f"watch() takes a torch.optim.Optimizer, or several, not {type(one).__name__}")
    return several


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    return {name: _number(name, value) for name, value in values.items()}


def _number(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise TypeError(f"log() takes numbers, but {name} is a {type(value).__name__}") from error

