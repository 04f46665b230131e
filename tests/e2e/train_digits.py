"""A training as people write it: an MLP on made digits, until standard input closes.

Says "training" once it has begun, and its number of steps when it has finished.
"""

import select
import sys

import torch
from torch import nn

import tuimon

torch.manual_seed(0)
torch.set_num_threads(1)
model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
prototypes = torch.randn(10, 64)

monitor = tuimon.watch(model, optimizer, name="digits", every=1)
steps = 0
while not select.select([sys.stdin], [], [], 0.002)[0]:
    labels = torch.randint(10, (32,))
    loss = nn.functional.cross_entropy(model(prototypes[labels] + torch.randn(32, 64)), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    steps += 1
    if steps == 1:
        print("training", flush=True)
print(steps, flush=True)
