"""bf16 autocast: weights in fp32, layers in bf16, no scaler."""

import running
import torch
from torch import nn
from torch.nn import functional as F

running.seed(4)


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.norm, self.head = nn.Linear(32, 64), nn.LayerNorm(64), nn.Linear(64, 10)

    def forward(self, x):
        hidden = self.first(x)
        self.seen = float(hidden.detach().double().norm())
        return self.head(self.norm(F.gelu(hidden)))


model = Classifier()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
for step in running.steps():
    x, labels = torch.randn(16, 32), torch.randint(10, (16,))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = F.cross_entropy(model(x), labels)
    optimizer.zero_grad()
    loss.backward()
    grad_norm = running.norm(model.parameters())
    optimizer.step()
    running.say(step=step, loss=loss.item(), grad_norm=grad_norm, first=model.seen)
running.leave(model, optimizer)
