"""An agent in the test's own process, its records in a list; and viewers of an agent elsewhere."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import nn

from tuimon.agent.agent import Agent
from tuimon.agent.pacing.schedule import Schedule
from tuimon.records.layout import LayerInfo, Layout, TensorKind
from tuimon.records.record import Record
from tuimon.records.sample import Sample
from tuimon.records.sketch import Sketch
from tuimon.records.tensors import TensorStats
from tuimon.wire.codec import decode
from tuimon.wire.commands import Subscribe, encode_command
from tuimon.wire.framing import Decoder
from tuimon.wire.unix import connect_unix
from tuimon_kernels import backend

#: A guard against hanging, no measurement.
PATIENCE_S = 60.0

A, G = TensorKind.ACTIVATION, TensorKind.OUTPUT_GRADIENT


class Observed:
    """What an agent published."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.left: list[str] = []
        self.agent: Agent

    @property
    def samples(self) -> list[Sample]:
        return [record for record in self.records if isinstance(record, Sample)]

    @property
    def losses(self) -> list[float | None]:
        return [sample.loss for sample in self.samples]

    def layout(self, sample: Sample) -> Layout:
        (found,) = [r for r in self.records if isinstance(r, Layout) and r.id == sample.layout]
        return found

    def layers(self) -> dict[str, LayerInfo]:
        """The newest layout's layers by name, in the order of execution."""
        return {layer.name: layer for layer in self.layout(self.samples[-1]).layers}

    def stats(self, sample: Sample | None = None) -> dict[tuple[str, TensorKind], TensorStats]:
        sample = sample or self.samples[-1]
        return {(s.name, s.kind): s for s in sample.tensors.stats(self.layout(sample))}

    def names(self, kind: TensorKind, sample: Sample | None = None) -> list[str]:
        return [name for name, k in self.stats(sample) if k is kind]


@contextlib.contextmanager
def observing(
    roots: nn.Module | Mapping[str | None, nn.Module],
    optimizers: tuple[torch.optim.Optimizer, ...] = (),
    every: int | None = 1,
) -> Iterator[Observed]:
    """Watch without publisher or socket; in the end nothing may have failed."""
    kernels = backend("cpu")
    assert kernels is not None
    observed = Observed()
    agent = observed.agent = Agent(
        kernels, Schedule(0.01, every), observed.records.append, observed.left.append
    )
    for name, root in ({None: roots} if isinstance(roots, nn.Module) else roots).items():
        agent.add_root(root, name)
    for optimizer in optimizers:
        agent.optimizers.positions(optimizer)
    agent.start()
    del roots, root  # a test may watch them die
    try:
        yield observed
    finally:
        agent.stop()
    assert agent.guard.failure is None
    assert observed.left == []


def rounding(n: int) -> float:
    """How far a sum of n elements may lie from the exact one, per sum of their magnitudes.

    gamma_(n + 1) of Higham 2002, 4.2, with fp32 additions: the kernels add short stretches in fp32.
    """
    error = (n + 1) * 2.0**-24
    return error / (1 - error)


def assert_describes(sketch: Sketch, tensor: torch.Tensor) -> None:
    """That it is the sketch of this tensor: counts and extremes exactly, sums within their rounding."""
    x = tensor.detach().to(torch.float64).flatten()
    finite = x[torch.isfinite(x)]
    assert (sketch.n, sketch.nan, sketch.zero) == (len(x), int(x.isnan().sum()), int((x == 0).sum()))
    assert sketch.inf == int(x.isinf().sum())
    if len(finite):
        assert (sketch.min, sketch.max) == (float(finite.min()), float(finite.max()))
    bound, squares = rounding(len(x)), float((finite * finite).sum())
    assert abs(sketch.sum - float(finite.sum())) <= bound * float(finite.abs().sum())
    assert abs(sketch.sum_sq - squares) <= bound * squares


def complaints(stderr: str) -> str:
    """What a child said on stderr, but for the line about kernels that are compiled once a machine."""
    lines = stderr.splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("tuimon: compiling its kernels"))


def subscribed(path: Path) -> socket.socket:
    """A viewer's connection that asked for everything."""
    connection = connect_unix(path, PATIENCE_S)
    connection.sendall(encode_command(Subscribe()))
    return connection


def received(connection: socket.socket) -> Iterator[Record]:
    """What the agent says, until it hangs up."""
    decoder = Decoder()
    with connection:
        while chunk := connection.recv(1 << 20):
            for payload in decoder.feed(chunk):
                record = decode(payload)
                if record is not None:
                    yield record
