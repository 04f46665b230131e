"""Activation checkpointing of both kinds in one model: each block's forward runs twice a step."""

import running
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

running.seed(6)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.up, self.act, self.drop, self.down = (
            nn.Linear(16, 32),
            nn.ReLU(),
            nn.Dropout(0.1),
            nn.Linear(32, 16),
        )

    def forward(self, x):
        return x + self.down(self.drop(self.act(self.up(x))))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(8, 16)
        self.plain, self.reentrant, self.other = Block(), Block(), Block()
        self.head = nn.Linear(16, 10)

    def forward(self, x):
        x = self.plain(self.embed(x))
        x = checkpoint(self.reentrant, x, use_reentrant=True)
        x = checkpoint(self.other, x, use_reentrant=False)
        # The same weights once more: a module that is called twice a step.
        x = checkpoint(self.reentrant, x, use_reentrant=True)
        return self.head(x)


model = Net()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
for step in running.steps():
    optimizer.zero_grad()
    losses = []
    for _ in range(2):
        x, labels = torch.randn(12, 8), torch.randint(10, (12,))
        loss = F.cross_entropy(model(x), labels)
        losses.append(loss.item())
        (loss / 2).backward()
    grad_norm = running.norm(model.parameters())
    optimizer.step()
    running.say(step=step, loss=sum(losses) / 2, grad_norm=grad_norm)
running.leave(model, optimizer)
