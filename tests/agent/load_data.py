"""A watched training whose batches come from worker processes; says what a worker sees of the agent.

Argument: how workers are started, "fork" or "spawn".
"""

import json
import sys
import threading

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

import tuimon


class Rows(Dataset):
    """Rows whose first element tells whether the agent lives on where they are made."""

    def __len__(self):
        return 24

    def __getitem__(self, i):
        here = [thread.name for thread in threading.enumerate() if thread.name.startswith("tuimon")]
        watched = "tuimon.agent.watch" in sys.modules and bool(sys.modules["tuimon.agent.watch"].current())
        return torch.tensor([float(len(here)), float(watched), 0.0, float(i)])


def main(method):
    torch.set_num_threads(1)
    model = nn.Linear(4, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    monitor = tuimon.watch(model, optimizer, every=1)
    rows = []
    for _ in range(2):
        for batch in DataLoader(Rows(), batch_size=6, num_workers=2, multiprocessing_context=method):
            rows.append(batch)
            loss = model(batch).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    rows = torch.cat(rows)
    print(json.dumps({"workers": rows[:, :2].sum().item(), "rows": rows[:, 3].sum().item(),
                      "listens": monitor.path.exists(),
                      "steps": monitor._watcher.agent.optimizers.step}))  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1])
