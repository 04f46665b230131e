"""Momentum SGD written by hand, as in many courses: no torch.optim, gradients taken away when used."""

import running
import torch
from torch import nn
from torch.nn import functional as F

running.seed(21)
model = nn.Sequential(nn.Linear(16, 32), nn.Tanh(), nn.Dropout(0.1), nn.Linear(32, 4))
velocity = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
rate = 0.05
for step in running.steps():
    x = torch.randn(8, 16)
    loss = F.cross_entropy(model(x), x[:, :4].argmax(1))
    loss.backward()
    grad_norm = running.norm(model.parameters())
    before = model[0].weight.detach().clone()
    with torch.no_grad():
        for name, p in model.named_parameters():
            velocity[name].mul_(0.9).add_(p.grad)
            p -= rate * velocity[name]
            p.grad = None
    moved = float((model[0].weight.detach() - before).norm() / before.norm())
    running.say(step=step, loss=loss.item(), grad_norm=grad_norm, moved=moved)
running.leave(model)
