"""A notebook: cells that run in one namespace, in another thread than the main one; LBFGS with a closure."""

import threading

CELLS = (
    """
import running
import torch
from torch import nn

running.seed(41)
x = torch.linspace(-2, 2, 64)[:, None]
y = torch.sin(3 * x)
""",
    """
class Curve(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden, self.out = nn.Linear(1, 24), nn.Linear(24, 1)

    def forward(self, x):
        return self.out(torch.tanh(self.hidden(x)))

model = Curve()
optimizer = torch.optim.LBFGS(model.parameters(), lr=1.0, max_iter=4, line_search_fn="strong_wolfe")
""",
    """
def closure():
    optimizer.zero_grad()
    loss = nn.functional.mse_loss(model(batch), torch.sin(3 * batch))
    loss.backward()
    losses.append(loss.item())
    return loss

for step in running.steps():
    batch, losses = x + 0.05 * torch.randn_like(x), []
    optimizer.step(closure)
    grad_norm = running.norm(model.parameters())
    running.say(step=step, loss=losses[0], evaluations=len(losses), grad_norm=grad_norm)
""",
    """
running.leave(model)
""",
)


def kernel():
    namespace = {"__name__": "__main__"}
    for number, cell in enumerate(CELLS, 1):
        exec(compile(cell, f"<cell {number}>", "exec"), namespace)


worker = threading.Thread(target=kernel, name="cells")
worker.start()
# As a kernel's main thread waits for messages, and wakes now and then.
while worker.is_alive():
    worker.join(0.05)
