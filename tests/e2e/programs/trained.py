"""A training that knows nothing of tuimon: `trained.py STEPS [EXIT_CODE [FAULT]]`.

Echoes its standard input, prints a digest of what it ended with, and ends with the code asked for. As a
module it is `python -m trained`. FAULT "nan" spoils the weights after half of the steps.
"""

import hashlib
import importlib.util
import sys

import torch
from torch import nn


def train(steps, fault=None):
    """Train a small network; the digest of its weights, its optimizer's state and the random numbers."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = nn.Sequential(nn.Linear(16, 32), nn.Dropout(0.1), nn.Linear(32, 4))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for step in range(steps):
        inputs, labels = torch.randn(8, 16), torch.randint(4, (8,))
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs), labels).backward()
        optimizer.step()
        if fault == "nan" and step == steps // 2:
            model[2].weight.data.fill_(float("nan"))
    state = [value for one in optimizer.state.values() for value in one.values()]
    ended_with = [*model.parameters(), *state, torch.get_rng_state()]
    return hashlib.sha256(b"".join(t.detach().numpy().tobytes() for t in ended_with)).hexdigest()


if __name__ == "__main__":
    steps, code, fault = [*sys.argv[1:], *("20", "0", "")[len(sys.argv) - 1 :]][:3]
    print(sys.stdin.read(), end="")
    print("tuimon is installed", importlib.util.find_spec("tuimon") is not None)
    print("digest", train(int(steps), fault))
    print("path", [entry for entry in sys.path if "tuimon" in entry and "on_path" in entry])
    print("marked", getattr(sys, "marked_by_the_user", None), __name__, sys.argv[0])
    sys.exit(int(code))
