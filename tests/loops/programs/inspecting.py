"""A loop that looks at its own hooks: at the end it says which are not what they were at the start."""

import threading

import running
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.modules import module
from torch.optim import optimizer as optimizers

running.seed(11)


def everything(model):
    """Attributes of PyTorch that a monitor may wrap, and every table of hooks with what it holds."""
    owners = [
        module,
        nn.Module,
        optimizers,
        torch.autograd,
        torch.Tensor,
        torch.amp.GradScaler,
        F,
        torch._C._nn,
    ]
    found = {(str(owner), name): value for owner in owners for name, value in vars(owner).items()}
    for path, part in model.named_modules():
        found |= {(path, name): value for name, value in vars(part).items() if "hooks" in name}
    held = {
        key: list(table.items())
        for key, table in found.items()
        if key[1].endswith("hooks") and table is not None and hasattr(table, "items")
    }
    return found, held


model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 10))
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
# The first step loads and sets what later ones use.
optimizer.zero_grad()
F.cross_entropy(model(torch.randn(4, 64)), torch.randint(10, (4,))).backward()
optimizer.step()
before, held_before = everything(model)
for step in running.steps():
    x, labels = torch.randn(16, 64), torch.randint(10, (16,))
    loss = F.cross_entropy(model(x), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    running.say(step=step, loss=loss.item())
after, held_after = everything(model)
running.say(
    changed=[str(key) for key in {**before, **after} if before.get(key) is not after.get(key)],
    held=[str(key) for key in held_before if held_before[key] != held_after[key]],
    threads=threading.active_count(),
)
running.leave(model, optimizer)
