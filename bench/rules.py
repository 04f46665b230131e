"""What history and rules cost the viewer per sample: CPU time, by number of layers.

Run from the repository root: ``python -m bench.rules``. Samples are made beforehand.
"""

from __future__ import annotations

import time

import numpy as np

from tests.rules.synthetic_runs import Run, perceptron
from tuimon.records.sample import Sample
from tuimon.session.session import Session

#: Samples before measuring (the windows are full), and samples measured.
_WARM, _MEASURED = 300, 300


def samples(layers: int) -> tuple[Run, list[Sample]]:
    """Eight different healthy samples of a model with that many layers, half of them with weights."""
    depth = layers // 2
    run = Run(perceptron(depth), rules=())
    made = []
    for _ in range(8):
        noise = run.noisy(np.full(depth, 1e-2))
        run.step(2.3, gradients=noise, updates=0.2 * noise)
        made.append(run.session.history.sample)
    return run, made


def cost_s(run: Run, made: list[Sample], *, judged: bool) -> list[float]:
    """CPU seconds of each measured sample, with or without rules."""
    session = Session() if judged else Session(())
    session.apply(run.hello)
    session.apply(run.layout)
    costs = []
    for i in range(1, _WARM + _MEASURED + 1):
        table = made[i % len(made)]
        event = Sample(i, i, float(i), table.layout, loss=table.loss, lr=table.lr, grad_norm=table.grad_norm,
                       dead_window=min(128, i), tensors=table.tensors)  # fmt: skip
        start = time.thread_time()
        session.apply(event)
        costs.append(time.thread_time() - start)
    return costs[_WARM:]


def main() -> None:
    """Print a table: layers, milliseconds of the history alone and with all rules (p20, p50, p80)."""
    print("layers  rows   history p20/p50/p80 ms   with rules p20/p50/p80 ms")
    for layers in (30, 300, 3000):
        run, made = samples(layers)
        cells = []
        for judged in (False, True):
            p20, p50, p80 = 1e3 * np.percentile(cost_s(run, made, judged=judged), (20, 50, 80))
            cells.append(f"{p20:6.2f} {p50:6.2f} {p80:6.2f}")
        print(f"{layers:6d} {len(made[0].tensors):5d}   {cells[0]}     {cells[1]}")


if __name__ == "__main__":
    main()
