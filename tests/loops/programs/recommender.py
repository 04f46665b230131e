"""Sparse embeddings under SparseAdam beside a dense tower under Adam: two optimizers in each step."""

import running
import torch
from torch import nn
from torch.nn import functional as F

running.seed(33)


class Recommender(nn.Module):
    def __init__(self):
        super().__init__()
        self.users = nn.Embedding(500, 8, sparse=True)
        self.bags = nn.EmbeddingBag(300, 8, mode="sum", sparse=True)
        self.tower = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 1))

    def forward(self, user, items):
        return self.tower(torch.cat([self.users(user), self.bags(items)], 1)).squeeze(1)


model = Recommender()
tables = [model.users.weight, model.bags.weight]
sparse = torch.optim.SparseAdam(tables, lr=1e-2)
dense = torch.optim.Adam(model.tower.parameters(), lr=1e-3)
for step in running.steps():
    user, items = torch.randint(500, (16,)), torch.randint(300, (16, 4))
    loss = F.binary_cross_entropy_with_logits(model(user, items), (user % 2).float())
    for optimizer in (sparse, dense):
        optimizer.zero_grad()
    loss.backward()
    given = [t.grad.coalesce().values() for t in tables]
    rows = [len(g) for g in given]
    given += [p.grad for p in model.tower.parameters()]
    squares = [float(g.double().square().sum()) for g in given]
    for optimizer in (sparse, dense):
        optimizer.step()
    running.say(step=step, loss=loss.item(), grad_norm=sum(squares) ** 0.5, rows=rows)
running.leave(model, sparse, dense)
