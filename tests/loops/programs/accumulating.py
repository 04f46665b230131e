"""Gradient accumulation over three microbatches; clipping that shortens some gradients and not others."""

import running
import torch
from torch import nn
from torch.nn import functional as F

running.seed(5)
model = nn.Sequential(nn.Linear(32, 64), nn.Tanh(), nn.Linear(64, 10))
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
norms = []
for step in running.steps():
    optimizer.zero_grad()
    losses = []
    for _ in range(3):
        x, labels = torch.randn(8, 32), torch.randint(10, (8,))
        loss = F.cross_entropy(model(x), labels)
        losses.append(loss.item())
        (loss / 3).backward()
    before = running.norm(model.parameters())
    # The middle of the newest norms: roughly every other gradient is longer.
    norms = [*norms, before][-9:]
    nn.utils.clip_grad_norm_(model.parameters(), sorted(norms)[len(norms) // 2])
    after = running.norm(model.parameters())
    optimizer.step()
    running.say(step=step, loss=sum(losses) / 3, preclip=before, grad_norm=after)
running.leave(model, optimizer)
