"""Two optimizers that step after one backward, and whose steps free the gradients that they have used."""

import running
import torch
from torch import nn
from torch.nn import functional as F


class Frugal(torch.optim.Optimizer):
    def __init__(self, parameters, lr):
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p.sub_(p.grad.sign(), alpha=group["lr"])
                    p.grad = None


running.seed(14)
model = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 10))
model[2].bias.requires_grad_(False)
matrices = Frugal([model[0].weight, model[2].weight], lr=1e-4)
vectors = Frugal([model[0].bias, model[2].bias], lr=1e-3)
for step in running.steps():
    x, labels = torch.randn(16, 32), torch.randint(10, (16,))
    loss = F.cross_entropy(model(x), labels)
    loss.backward()
    before = running.norm(model.parameters())
    nn.utils.clip_grad_norm_(model.parameters(), 0.5)
    after = running.norm(model.parameters())
    matrices.step()
    vectors.step()
    running.say(step=step, loss=loss.item(), preclip=before, grad_norm=after)
running.leave(model, matrices, vectors)
