"""fp16 autocast with a GradScaler and a fused AdamW, which unscales and skips steps inside of its kernel."""

import running
import torch
from torch import nn
from torch.nn import functional as F

running.seed(3)
model = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 10))
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
scaler = torch.amp.GradScaler("cpu", init_scale=2.0**14, growth_interval=4)
for step in running.steps():
    x, labels = torch.randn(16, 32), torch.randint(10, (16,))
    with torch.autocast("cpu", dtype=torch.float16):
        scores = model(x)
        loss = F.cross_entropy(scores, labels)
    optimizer.zero_grad()
    scaler.scale(loss).backward()
    scale = scaler.get_scale()
    grad_norm = running.norm(model.parameters()) / scale
    scaler.step(optimizer)
    scaler.update()
    running.say(
        step=step,
        loss=loss.item(),
        grad_norm=grad_norm,
        scale=scale,
        arrived=running.norm_of_softmax_gradient(scores, labels),
        skipped=scaler.get_scale() < scale,
        updates=int(optimizer.state[model[0].weight]["step"]),
    )
running.leave(model, optimizer)
