"""The optimizer in backward: each parameter steps as soon as its gradient is there, and frees it."""

import running
import torch
from torch import nn
from torch.nn import functional as F

running.seed(7)
model = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 10))
optimizers = {p: torch.optim.AdamW([p], lr=1e-3) for p in model.parameters()}
squares = []


def step_now(parameter):
    squares.append(float(parameter.grad.double().square().sum()))
    optimizers[parameter].step()
    optimizers[parameter].zero_grad()


for parameter in model.parameters():
    parameter.register_post_accumulate_grad_hook(step_now)
for step in running.steps():
    squares.clear()
    x, labels = torch.randn(16, 32), torch.randint(10, (16,))
    loss = F.cross_entropy(model(x), labels)
    loss.backward()
    running.say(step=step, loss=loss.item(), grad_norm=sum(squares) ** 0.5)
running.leave(model, *optimizers.values())
