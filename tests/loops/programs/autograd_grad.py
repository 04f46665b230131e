"""A physics-informed network: derivatives by the input, then `autograd.grad` by the parameters."""

import running
import torch
from torch import nn
from torch.autograd import grad

running.seed(22)
model = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))
parameters = list(model.parameters())
for step in running.steps():
    t = torch.rand(32, 1, requires_grad=True)
    u = model(t)
    (du,) = grad(u.sum(), t, create_graph=True)
    start = model(torch.zeros(1, 1)) - 1
    loss = (du + u).square().mean() + start.square().mean()
    gradients = grad(loss, parameters)
    grad_norm = sum(float(g.double().square().sum()) for g in gradients) ** 0.5
    with torch.no_grad():
        for p, g in zip(parameters, gradients, strict=True):
            p.sub_(0.02 * g)
    running.say(step=step, loss=loss.item(), grad_norm=grad_norm)
running.leave(model)
