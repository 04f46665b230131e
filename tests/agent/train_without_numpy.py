"""A training where NumPy and Numba cannot be imported, under every mode of torch that could get in the way.

Trains once bare and once watched, and prints what differed, what the modes saw of it, and what was recorded.
"""
# ruff: noqa: E402 - imports come after what keeps NumPy away

from __future__ import annotations

import contextlib
import json
import math
import sys
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

MISSING = ("numpy", "numba", "llvmlite")


class Without:
    """A finder that finds all but these packages: as where they were never installed."""

    def __init__(self, finder: Any) -> None:
        self._finder = finder

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: Any = None) -> Any:
        return None if name.partition(".")[0] in MISSING else self._finder.find_spec(name, path, target)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._finder, name)


sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
with warnings.catch_warnings():
    # Torch itself says on import that there is no NumPy.
    warnings.simplefilter("ignore")
    import torch
    from torch import nn
    from torch.utils._python_dispatch import TorchDispatchMode

import tuimon
from tuimon.agent import watcher
from tuimon.records.layout import Layout
from tuimon.records.record import Record
from tuimon.records.sample import Sample


class Counts(TorchDispatchMode):
    """Sees every operation that runs, as a profiler or a counter of operations does."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen.append(str(func))
        return func(*args, **(kwargs or {}))


@contextlib.contextmanager
def modes() -> Iterator[Counts]:
    with Counts() as counts, torch.autocast("cpu", torch.bfloat16):
        yield counts


#: Of the last step: the loss, the norm of all gradients, and which kernels the agent introduces itself with.
by_hand: dict[str, Any] = {}


def train(watch: bool, look: bool = False) -> tuple[list[torch.Tensor], list[str], list[Record]]:
    """Parameters and random numbers in the end, the operations that were seen, the records published."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(20, 8, sparse=True), nn.Flatten(), nn.Linear(32, 600), nn.ReLU())
    model.extend([nn.Dropout(0.5), nn.Linear(600, 8), nn.Sigmoid()])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    batches = [torch.randint(20, (16, 4)) for _ in range(12)]
    records: list[Record] = []
    monitor = tuimon.watch(model, optimizer, every=1) if watch else None
    if (current := watcher.current()) is not None:
        current.agent._publish = records.append
        by_hand["kernels"] = current._hello().kernels
    # Whatever is made without saying where has no memory from here on.
    torch.set_default_device("meta")
    with modes() as counts:
        for batch in batches:
            optimizer.zero_grad()
            loss = model(batch).square().mean()
            loss.backward()
            if look:
                gradients = [
                    p.grad.coalesce().values() if p.grad.is_sparse else p.grad for p in model.parameters()
                ]
                by_hand["norm"] = math.sqrt(sum(float(g.double().square().sum()) for g in gradients))
                by_hand["loss"] = float(loss.detach())
            optimizer.step()
    torch.set_default_device("cpu")
    if monitor is not None:
        monitor.close()
    return [*(p.detach() for p in model.parameters()), torch.get_rng_state()], counts.seen, records


bare, seen_bare, _ = train(watch=False)
watched, seen_watched, records = train(watch=True)
train(watch=False, look=True)
samples = [record for record in records if isinstance(record, Sample)]
(layout,) = [record for record in records if isinstance(record, Layout)][-1:]
last = {f"{stats.kind.value} {stats.name}": stats for stats in samples[-1].tensors.stats(layout)}
told = {
    "kernels": by_hand["kernels"],
    "norm by hand": by_hand["norm"],
    "loss by hand": by_hand["loss"],
    "loaded": [name for name in MISSING if name in sys.modules],
    "same": all(torch.equal(a, b) for a, b in zip(bare, watched, strict=True)),
    "extra": dict(Counter(seen_watched) - Counter(seen_bare)),
    "samples": len(samples),
    "n": {name: stats.sketch.n for name, stats in last.items()},
    "norm": samples[-1].grad_norm,
    "updates": sum(stats.update_ratio is not None for stats in last.values()),
    "dead": last["activation 3"].dead_ratio,
    "loss": samples[-1].loss,
}
print(json.dumps(told))
