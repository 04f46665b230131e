"""FSDP2 (`fully_shard`) on two ranks: parameters and gradients are sharded, this rank holds half of each."""

import ranks
import running
import torch
from torch import distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn import functional as F

running.seed(12)
rank = ranks.begin()


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.up, self.act, self.down = nn.Linear(16, 33), nn.ReLU(), nn.Linear(33, 16)

    def forward(self, x):
        return x + self.down(self.act(self.up(x)))


# One output: its bias has one element, so one rank has none of it.
model = nn.Sequential(nn.Linear(8, 16), Block(), Block(), nn.Linear(16, 1))
mesh = init_device_mesh("cpu", (2,))
for block in (model[1], model[2]):
    fully_shard(block, mesh=mesh)
fully_shard(model, mesh=mesh)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
torch.manual_seed(100 + rank)


def local_norm():
    grads = [p.grad.to_local().double() for p in model.parameters()]
    return sum(float(g.square().sum()) for g in grads) ** 0.5


for step in ranks.steps():
    x = torch.randn(16, 8)
    loss = F.mse_loss(model(x), x.sum(1, keepdim=True))
    optimizer.zero_grad()
    loss.backward()
    before = local_norm()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    after = local_norm()
    optimizer.step()
    weights = {name: float(p.detach().to_local().double().norm()) for name, p in model.named_parameters()}
    running.say(step=step, loss=loss.item(), preclip=before, grad_norm=after, weights=weights)
running.leave(model, optimizer)
dist.destroy_process_group()
