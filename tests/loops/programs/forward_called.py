"""`model.forward(x)` called directly, and the loss in a method of the model."""

import running
import torch
from torch import nn
from torch.nn import functional as F

running.seed(42)


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(8, 8) for _ in range(3)])

    def forward(self, x):
        for layer in self.layers:
            x = torch.relu(layer(x))
        return x


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.head = Encoder(), nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.encoder.forward(x))

    def loss(self, x, labels):
        return F.cross_entropy(self.forward(x), labels)


model = Model()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
for step in running.steps():
    x = torch.randn(8, 8)
    loss = model.loss(x, x[:, :3].argmax(1))
    optimizer.zero_grad()
    loss.backward()
    grad_norm = running.norm(model.parameters())
    optimizer.step()
    running.say(step=step, loss=loss.item(), grad_norm=grad_norm)
running.leave(model, optimizer)
