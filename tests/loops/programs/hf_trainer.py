"""Hugging Face's Trainer on a small GPT-2 with random weights: accumulation, clipping, a warm-up.

What it says is what the Trainer logs: of the step that ends, and the learning rate of the next one.
"""

import os
import tempfile

os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", TRANSFORMERS_VERBOSITY="error")
import running
import torch
from torch.utils.data import Dataset
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_callback import PrinterCallback

running.seed(51)
steps = running.steps()


class Words(Dataset):
    def __init__(self):
        self.rows = torch.randint(64, (64, 12))

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        return {"input_ids": self.rows[i], "labels": self.rows[i]}


class Saying(TrainerCallback):
    """Prints the Trainer's own log, and ends the training when it is to end."""

    def on_train_begin(self, args, state, control, **kwargs):
        next(steps)

    def on_step_end(self, args, state, control, **kwargs):
        if next(steps, None) is None:
            control.should_training_stop = True

    def on_log(self, args, state, control, logs=None, **kwargs):
        if "loss" in logs:
            numbers = {name: float(logs[name]) for name in ("loss", "grad_norm", "learning_rate")}
            running.say(step=state.global_step, **numbers)


directory = tempfile.mkdtemp()
model = GPT2LMHeadModel(GPT2Config(vocab_size=64, n_positions=16, n_embd=16, n_layer=2, n_head=2))
trainer = Trainer(
    model=model,
    args=TrainingArguments(
        output_dir=directory,
        max_steps=1_000_000,
        per_device_train_batch_size=4,
        gradient_accumulation_steps=2,
        max_grad_norm=0.5,
        learning_rate=1e-3,
        warmup_steps=2000,
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
        seed=51,
        dataloader_pin_memory=False,
    ),
    train_dataset=Words(),
    callbacks=[Saying],
)
trainer.remove_callback(PrinterCallback)
trainer.train()
os.rmdir(directory)
running.leave(model, trainer.optimizer)
