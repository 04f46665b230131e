"""DistributedDataParallel on two ranks, with the gradients as views of the buckets; clipping."""

import ranks
import running
import torch
from torch import distributed as dist
from torch import nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

running.seed(11)
rank = ranks.begin()
model = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 10))
parallel = DistributedDataParallel(model, gradient_as_bucket_view=True)
optimizer = torch.optim.AdamW(parallel.parameters(), lr=1e-3)
torch.manual_seed(100 + rank)
for step in ranks.steps():
    x, labels = torch.randn(16, 32), torch.randint(10, (16,))
    loss = F.cross_entropy(parallel(x), labels)
    optimizer.zero_grad()
    loss.backward()
    before = running.norm(model.parameters())
    nn.utils.clip_grad_norm_(parallel.parameters(), 0.5)
    after = running.norm(model.parameters())
    optimizer.step()
    running.say(step=step, loss=loss.item(), preclip=before, grad_norm=after)
running.leave(parallel, optimizer)
dist.destroy_process_group()
