"""`model.compile()`, compiled before anybody attaches; counts what is compiled."""

import running
import torch
from torch import nn
from torch._dynamo.utils import counters
from torch.nn import functional as F

running.seed(10)


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.up, self.act, self.head = nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 10)

    def forward(self, x):
        return self.head(self.act(self.up(x)))


model = Classifier()
model.compile(backend="aot_eager")
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
for step in running.steps():
    x, labels = torch.randn(16, 32), torch.randint(10, (16,))
    loss = F.cross_entropy(model(x), labels)
    optimizer.zero_grad()
    loss.backward()
    grad_norm = running.norm(model.parameters())
    optimizer.step()
    running.say(
        step=step,
        loss=loss.item(),
        grad_norm=grad_norm,
        graphs=counters["stats"]["unique_graphs"],
        frames=counters["frames"]["total"],
    )
running.leave(model, optimizer)
