"""fp16 autocast with a GradScaler whose scale grows until gradients overflow; two microbatches a step.

AdamW, not fused: the scaler unscales and, on overflow, leaves the step out.
"""

import running
import torch
from torch import nn
from torch.nn import functional as F

running.seed(2)
model = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 10))
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
# Grows soon, so that overflows come as often as in a week of a real training.
scaler = torch.amp.GradScaler("cpu", init_scale=2.0**14, growth_interval=4)
for step in running.steps():
    optimizer.zero_grad()
    losses, arrived = [], []
    for _ in range(2):
        x, labels = torch.randn(16, 32), torch.randint(10, (16,))
        with torch.autocast("cpu", dtype=torch.float16):
            scores = model(x)
            loss = F.cross_entropy(scores, labels)
        arrived.append(running.norm_of_softmax_gradient(scores, labels) / 2)
        losses.append(loss.item())
        scaler.scale(loss / 2).backward()
    scaler.unscale_(optimizer)
    before = running.norm(model.parameters())
    nn.utils.clip_grad_norm_(model.parameters(), 0.25)
    after = running.norm(model.parameters())
    scale = scaler.get_scale()
    scaler.step(optimizer)
    scaler.update()
    running.say(
        step=step,
        loss=sum(losses) / 2,
        preclip=before,
        grad_norm=after,
        scale=scale,
        arrived=sum(a * a for a in arrived) ** 0.5,
        skipped=scaler.get_scale() < scale,
        updates=int(optimizer.state[model[0].weight]["step"]) if optimizer.state else 0,
    )
running.leave(model, optimizer)
