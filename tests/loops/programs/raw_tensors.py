"""A bigram network of bare tensors, as in a well-known series of lectures: no module, no optimizer."""

import running
import torch
from torch.nn import functional as F

running.seed(23)
C = torch.randn(27, 8)
W1 = torch.randn(24, 64) * 0.2
b1 = torch.randn(64) * 0.01
W2 = torch.randn(64, 27) * 0.1
b2 = torch.zeros(27)
parameters = [C, W1, b1, W2, b2]
for p in parameters:
    p.requires_grad = True
for step in running.steps():
    x = torch.randint(27, (32, 3))
    hidden = torch.tanh(C[x].view(-1, 24) @ W1 + b1)
    loss = F.cross_entropy(hidden @ W2 + b2, x.sum(1) % 27)
    for p in parameters:
        p.grad = None
    loss.backward()
    grad_norm = running.norm(parameters)
    for p in parameters:
        p.data += -0.1 * p.grad
    running.say(step=step, loss=loss.item(), grad_norm=grad_norm)
running.leave(torch.nn.ParameterList(parameters))
