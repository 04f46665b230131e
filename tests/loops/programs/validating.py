"""A classifier of unequal classes that accumulates gradients and validates at each fifth step.

Its loss function was imported long before anybody attaches, and some targets are ignored.
"""

import running
import torch
from torch import nn
from torch.nn.functional import cross_entropy

MICROBATCHES, CLASSES, IGNORED = 2, 5, -100

running.seed(7)
model = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, CLASSES))
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
teacher = torch.randn(12, CLASSES) + torch.arange(CLASSES)
held_out = torch.randn(50, 12)


def targets(x):
    labels = (x @ teacher).argmax(1)
    labels[::7] = IGNORED
    return labels


def counted(labels):
    return {str(one): n for one, n in enumerate(labels.bincount(minlength=CLASSES).tolist()) if n}


def validated():
    model.eval()
    outputs = []
    with torch.no_grad():
        for x in held_out.split(20):
            outputs.append(model(x))
            cross_entropy(outputs[-1], targets(x))
    model.train()
    out, y = torch.cat(outputs), torch.cat([targets(x) for x in held_out.split(20)])
    known = y != IGNORED
    right = (out.argmax(1) == y).double()
    first = known[:20]
    # By hand: whoever observes the function must not see it called once more.
    loss = -out.double().log_softmax(1)[known].gather(1, y[known, None]).mean().item()
    return {
        "val_loss": loss,
        "val_accuracy": right[known].mean().item(),
        "accuracy_of_first": [int(first.sum()), right[:20][first].mean().item()],
        "labels": counted(y[known]),
    }


for step in running.steps():
    optimizer.zero_grad()
    losses, right, seen, guesses = [], [], [], []
    for _ in range(MICROBATCHES):
        x = torch.randn(24, 12)
        y = targets(x)
        out = model(x)
        loss = cross_entropy(out, y)
        (loss / MICROBATCHES).backward()
        losses.append(loss.item())
        known = y != IGNORED
        right.append((out.argmax(1) == y)[known])
        seen.append(y[known])
        guesses.append(out.argmax(1)[known])
    optimizer.step()
    truth = {"loss": sum(losses) / MICROBATCHES, "accuracy": torch.cat(right).double().mean().item()}
    truth |= {"labels": counted(torch.cat(seen)), "predictions": counted(torch.cat(guesses))}
    running.say(step=step, **truth, **({"validated": validated()} if step % 5 == 0 else {}))
running.leave(model, optimizer)
