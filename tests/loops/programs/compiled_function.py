"""A compiled function around the model: it computes the loss, and no module is ever called as one."""

import running
import torch
from torch import nn
from torch.nn import functional as F

running.seed(43)
model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


@torch.compile(backend="aot_eager")
def loss_of(x, labels):
    return F.cross_entropy(model(x), labels)


for step in running.steps():
    x = torch.randn(8, 8)
    loss = loss_of(x, x[:, :3].argmax(1))
    optimizer.zero_grad()
    loss.backward()
    grad_norm = running.norm(model.parameters())
    optimizer.step()
    running.say(step=step, loss=loss.item(), grad_norm=grad_norm)
running.leave(model, optimizer)
