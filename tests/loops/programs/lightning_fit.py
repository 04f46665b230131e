"""Lightning: backward runs in a closure that the optimizer's step calls; accumulation and clipping."""

import logging

import lightning
import running
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
running.seed(52)
steps = running.steps()


class Digits(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 4))
        self.losses, self.norm = [], None

    def training_step(self, batch, number):
        x, labels = batch
        loss = F.cross_entropy(self.net(x), labels)
        self.log("loss", loss)
        self.losses.append(loss.item())
        return loss

    def on_before_optimizer_step(self, optimizer):
        self.norm, self.rate = running.norm(self.parameters()), optimizer.param_groups[0]["lr"]

    def configure_optimizers(self):
        optimizer = torch.optim.Adam(self.parameters(), lr=1e-2)
        halving = torch.optim.lr_scheduler.StepLR(optimizer, 50, gamma=0.9)
        return [optimizer], [{"scheduler": halving, "interval": "step"}]

    def on_train_start(self):
        next(steps)

    def on_train_batch_end(self, outputs, batch, number):
        if len(self.losses) < 2:
            return
        loss = sum(self.losses) / 2
        self.losses = []
        clipped = running.norm(self.parameters())
        rate = self.rate
        running.say(step=self.trainer.global_step, loss=loss, preclip=self.norm, grad_norm=clipped, lr=rate)
        if next(steps, None) is None:
            self.trainer.should_stop = True


x = torch.randn(256, 16)
batches = DataLoader(TensorDataset(x, x[:, :4].argmax(1)), batch_size=8, shuffle=True)
model = Digits()
trainer = lightning.Trainer(
    accelerator="cpu",
    max_epochs=-1,
    accumulate_grad_batches=2,
    gradient_clip_val=0.5,
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
)
trainer.fit(model, batches)
running.leave(model, trainer.optimizers[0])
