"""A training that draws from every generator there is; prints a digest of all that it leaves.

It validates now and then. Arguments: "bare"; "watched" (from the first step to the last); "closed" (until the
middle); "entered" (by a thread, in mid-run, to the last step); or "detached" (so, and left again). Where it
is watched it says the socket's path when it has begun to be, and goes on when a line comes back; "detached"
waits for a second line in the middle.
"""

import hashlib
import json
import random
import sys
import threading

import numpy as np
import torch
from torch import nn

STEPS = 150
ENTERED_AT, DETACHED_AT = 20, 90


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


def enter():
    """What an injected thread does, as far as Python can tell."""
    from tuimon.agent import watcher
    from tuimon.agent.enter import enter

    enter({"every": 1})
    print(watcher.current().path, flush=True)


def validated(model):
    model.eval()
    with torch.inference_mode():
        out = model(torch.randn(12, 1, 8, 8))
        loss = nn.functional.cross_entropy(out, torch.randint(10, (12,)), label_smoothing=0.1)
    model.train()
    return loss.item()


def main(mode):
    torch.set_num_threads(1)
    torch.manual_seed(3)
    random.seed(4)
    np.random.seed(5)
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    monitor = None
    if mode in ("watched", "closed"):
        import tuimon

        monitor = tuimon.watch(model, optimizer, every=1)
        print(monitor.path, flush=True)
        sys.stdin.readline()
    losses = []
    for step in range(STEPS):
        if mode == "closed" and step == STEPS // 2:
            monitor.close()
        if mode in ("entered", "detached") and step == ENTERED_AT:
            thread = threading.Thread(target=enter)
            thread.start()
            thread.join()
            sys.stdin.readline()
        if mode == "detached" and step == DETACHED_AT:
            print("in the middle", flush=True)
            sys.stdin.readline()
        n = random.choice((6, 8))
        x = torch.randn(n, 1, 8, 8) + float(np.random.randn())
        loss = nn.functional.cross_entropy(model(x), torch.randint(10, (n,)))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
        if step % 25 == 24:
            losses.append(validated(model))
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
