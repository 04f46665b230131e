"""A network that grows: now and then a new layer, and a new group of parameters in the optimizer for it."""

import running
import torch
from torch import nn
from torch.nn import functional as F

running.seed(34)


class Growing(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(8, 16), nn.Linear(16, 3)
        self.grown = nn.ModuleList()

    def forward(self, x):
        x = torch.relu(self.first(x))
        for layer in self.grown:
            x = x + torch.tanh(layer(x))
        return self.last(x)


model = Growing()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
for step in running.steps(pause_s=0.01):
    if step % 25 == 0:
        model.grown.append(nn.Linear(16, 16))
        optimizer.add_param_group({"params": model.grown[-1].parameters(), "lr": 1e-4 * len(model.grown)})
    x = torch.randn(8, 8)
    loss = F.cross_entropy(model(x), x[:, :3].argmax(1))
    optimizer.zero_grad()
    loss.backward()
    grad_norm = running.norm(model.parameters())
    optimizer.step()
    running.say(step=step, loss=loss.item(), grad_norm=grad_norm, grown=len(model.grown))
running.leave(model, optimizer)
