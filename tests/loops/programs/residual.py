"""A frozen backbone, in-place activations and sums, and one block that is called three times a step."""

import running
import torch
from torch import nn
from torch.nn import functional as F

running.seed(31)


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x):
        y = self.norm(self.conv(x))
        y += x
        return self.act(y)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(inplace=True))
        self.block = Block(8)
        self.head = nn.Linear(8, 10)

    def forward(self, x):
        with torch.no_grad():
            x = self.backbone(x)
        for _ in range(3):
            x = self.block(x)
        return self.head(x.mean((2, 3)))


model = Net()
model.backbone.requires_grad_(False)
optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.05, momentum=0.9)
read = {}
model.block.conv.register_forward_hook(lambda m, x, out: read["conv"].append(squares(out)))
model.block.norm.register_forward_hook(lambda m, x, out: read["norm"].append(squares(out)))


def squares(tensor):
    return float(tensor.detach().double().square().sum())


for step in running.steps():
    read.update(conv=[], norm=[])
    x = torch.randn(12, 1, 8, 8)
    loss = F.cross_entropy(model(x), (x.mean((1, 2, 3)) * 50).long().clamp(-5, 4) + 5)
    optimizer.zero_grad()
    loss.backward()
    grad_norm = running.norm(model.parameters())
    optimizer.step()
    norms = {name: sum(several) ** 0.5 for name, several in read.items()}
    running.say(step=step, loss=loss.item(), grad_norm=grad_norm, norms=norms)
running.leave(model, optimizer)
