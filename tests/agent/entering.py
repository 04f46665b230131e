"""A training in this process that never heard of tuimon, and what a viewer of it is told."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from observing import PATIENCE_S, received, subscribed
from torch import nn

from tuimon.agent import watcher
from tuimon.agent.agent import Agent
from tuimon.agent.enter import enter
from tuimon.records.hello import Hello
from tuimon.records.record import Record
from tuimon.records.sample import Bye, Sample


def on_a_thread(act: Callable[[], object]) -> None:
    """Run `act` on another thread than the training's, as an injection does."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            act()
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    if failed:
        raise failed[0]


def entered(**options: Any) -> watcher.Watcher:
    """Enter this process from another thread; `every` is 1 unless said otherwise."""
    on_a_thread(lambda: enter({"every": 1, **options}))
    found = watcher.current()
    assert found is not None
    return found


@contextlib.contextmanager
def entering(**options: Any) -> Iterator[Agent]:
    """The agent of an entered process, taken out again at the end; it must not have failed."""
    here = entered(**options)
    try:
        yield here.agent
    finally:
        here.end("closed")
    assert here.agent.guard.failure is None


class Told:
    """A viewer that reads on a thread, so that it never holds anything up."""

    def __init__(self, path: Path | None) -> None:
        assert path is not None
        self.socket = subscribed(path)
        stream = received(self.socket)
        self.records: list[Record] = [next(stream)]  # from here on it is certainly a viewer
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read, args=(stream,), daemon=True)
        self._thread.start()

    def _read(self, stream: Iterator[Record]) -> None:
        for record in stream:
            with self._changed:
                self.records.append(record)
                self._changed.notify_all()

    def until(self, true: Callable[[Record], bool]) -> Record:
        """The first record for which this is true, once it is there."""
        with self._changed:
            assert self._changed.wait_for(lambda: any(map(true, self.records)), PATIENCE_S)
            return next(filter(true, self.records))

    def until_end(self) -> Bye:
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()
        last = self.records[-1]
        assert isinstance(last, Bye)
        return last

    @property
    def hello(self) -> Hello:
        return [record for record in self.records if isinstance(record, Hello)][-1]

    @property
    def samples(self) -> list[Sample]:
        return [record for record in self.records if isinstance(record, Sample)]


def mlp() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))


def names(agent: Agent) -> list[str]:
    return [p.name for p in agent.inventory.parameters]


def named(module: nn.Module) -> list[str]:
    return [name for name, _ in module.named_parameters()]


def step(optimizer: torch.optim.Optimizer, *models: Callable[[torch.Tensor], torch.Tensor]) -> None:
    optimizer.zero_grad()
    out = torch.randn(6, 4)
    for model in models:
        out = model(out)
    out.square().mean().backward()
    optimizer.step()
