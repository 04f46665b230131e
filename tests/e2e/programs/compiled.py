"""A training whose optimizer's step is compiled, then the whole step with its backward inside."""

import torch
from torch import nn

torch.manual_seed(0)
torch.set_num_threads(1)
model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)


@torch.compile(backend="aot_eager")
def apply():
    optimizer.step()


@torch.compile(backend="aot_eager")
def step(inputs):
    model(inputs).square().mean().backward()
    optimizer.step()
    optimizer.zero_grad()


for _ in range(4):
    model(torch.randn(4, 8)).square().mean().backward()
    apply()
    optimizer.zero_grad()
for _ in range(3):
    step(torch.randn(4, 8))
print(sum(float(p.detach().double().sum()) for p in model.parameters()))
