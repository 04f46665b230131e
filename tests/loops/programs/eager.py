"""The plainest loop there is: a classifier with dropout and batch norm, AdamW, one batch a step."""

import running
import torch
from torch import nn
from torch.nn import functional as F

running.seed(1)


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
        self.drop = nn.Dropout(0.2)
        self.head = nn.Linear(4 * 64, 10)

    def forward(self, x):
        return self.head(self.drop(self.stem(x)).flatten(1))


model = Classifier()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
for step in running.steps():
    x, labels = torch.randn(16, 1, 8, 8), torch.randint(10, (16,))
    loss = F.cross_entropy(model(x), labels)
    optimizer.zero_grad()
    loss.backward()
    grad_norm = running.norm(model.parameters())
    optimizer.step()
    running.say(step=step, loss=loss.item(), grad_norm=grad_norm)
running.leave(model, optimizer)
