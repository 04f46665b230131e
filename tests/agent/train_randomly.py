"""A training that draws from every generator there is; prints a digest of all that it leaves.

Arguments: "bare"; "watched" (from the first step to the last); or "closed" (until the middle). Where it
watches it says the socket's path first and begins when a line comes back.
"""

import hashlib
import json
import random
import sys

import numpy as np
import torch
from torch import nn

import tuimon

STEPS = 150


class Net(nn.Module):
    """Convolution, batch norm, dropout, attention: with buffers, in-place and functional parts."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.act = nn.ReLU(inplace=True)
        self.drop = nn.Dropout(0.3)
        self.attend = nn.MultiheadAttention(16, 2, dropout=0.2, batch_first=True)
        self.head = nn.Linear(64, 10)

    def forward(self, x):
        x = self.drop(self.act(self.norm(self.conv(x)))).flatten(1).view(-1, 32, 16)
        x, _ = self.attend(x, x, x)
        return self.head(torch.relu(x.reshape(-1, 8, 64).mean(1)))


def digest(tensors):
    return {name: hashlib.sha256(t.detach().numpy().tobytes()).hexdigest() for name, t in tensors.items()}


def main(mode):
    torch.set_num_threads(1)
    torch.manual_seed(3)
    random.seed(4)
    np.random.seed(5)
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    monitor = None
    if mode != "bare":
        monitor = tuimon.watch(model, optimizer, every=1)
        print(monitor.path, flush=True)
        sys.stdin.readline()
    losses = []
    for step in range(STEPS):
        if mode == "closed" and step == STEPS // 2:
            monitor.close()
        n = random.choice((6, 8))
        x = torch.randn(n, 1, 8, 8) + float(np.random.randn())
        loss = nn.functional.cross_entropy(model(x), torch.randint(10, (n,)))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    state = {f"{i}.{k}": v for i, s in optimizer.state_dict()["state"].items() for k, v in s.items()}
    left = {
        "model": digest(model.state_dict()),
        "gradients": digest({name: p.grad for name, p in model.named_parameters()}),
        "optimizer": digest(state),
        "losses": [loss.hex() for loss in losses],
        "torch": hashlib.sha256(torch.get_rng_state().numpy().tobytes()).hexdigest(),
        "python": hashlib.sha256(repr(random.getstate()).encode()).hexdigest(),
        "numpy": hashlib.sha256(repr(np.random.get_state()[1].tolist()).encode()).hexdigest(),
        "numpy_position": repr(np.random.get_state()[2:]),
    }
    print(json.dumps(left), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
