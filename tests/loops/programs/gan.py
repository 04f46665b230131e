"""Two optimizers that take turns: a critic with two turns, then the generator."""

import running
import torch
from torch import nn

running.seed(8)
generator = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
critic = nn.Sequential(nn.Linear(2, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1))
g = torch.optim.Adam(generator.parameters(), lr=1e-3)
c = torch.optim.RMSprop(critic.parameters(), lr=5e-4)
for step in running.steps():
    for turn in range(2):
        real, fake = torch.randn(16, 2) + 2.0, generator(torch.randn(16, 8)).detach()
        loss = critic(fake).mean() - critic(real).mean()
        c.zero_grad()
        loss.backward()
        if turn == 0:
            critic_loss, critic_norm = loss.item(), running.norm(critic.parameters())
        c.step()
        with torch.no_grad():
            for p in critic.parameters():
                p.clamp_(-0.1, 0.1)
    g.zero_grad()
    loss = -critic(generator(torch.randn(16, 8))).mean()
    loss.backward()
    generator_norm = running.norm(generator.parameters())
    g.step()
    running.say(
        step=step,
        loss=critic_loss,
        losses={"RMSprop": critic_loss, "Adam": loss.item()},
        norms={"RMSprop": critic_norm, "Adam": generator_norm},
    )
running.leave(generator, critic, g, c)
