"""Blocks that are compiled one by one, as large models do it: in place, wrapped, and one that is not."""

import running
import torch
from torch import nn
from torch._dynamo.utils import counters
from torch.nn import functional as F

running.seed(13)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.up, self.act, self.down = nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 16)

    def forward(self, x):
        return x + self.down(self.act(self.up(x)))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.head = nn.Linear(8, 16), nn.Linear(16, 10)
        self.blocks = nn.ModuleList(Block() for _ in range(3))

    def forward(self, x):
        x = self.embed(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


model = Net()
model.blocks[0].compile(backend="aot_eager")
model.blocks[1] = torch.compile(model.blocks[1], backend="aot_eager")
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
for step in running.steps():
    x, labels = torch.randn(16, 8), torch.randint(10, (16,))
    loss = F.cross_entropy(model(x), labels)
    optimizer.zero_grad()
    loss.backward()
    grad_norm = running.norm(model.parameters())
    optimizer.step()
    running.say(step=step, loss=loss.item(), grad_norm=grad_norm, graphs=counters["stats"]["unique_graphs"])
running.leave(model, optimizer)
