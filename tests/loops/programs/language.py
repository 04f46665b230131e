"""A language model: tied weights, an LSTM over packed sequences, a GRU after it, sequences of any length."""

import running
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

running.seed(32)
WORDS = 40


class Language(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(WORDS, 16)
        self.lstm = nn.LSTM(16, 16, num_layers=2, batch_first=True, dropout=0.1)
        self.gru = nn.GRU(16, 16, batch_first=True, bidirectional=True)
        self.down = nn.Linear(32, 16)
        self.head = nn.Linear(16, WORDS, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, words, lengths):
        packed = pack_padded_sequence(self.embed(words), lengths, batch_first=True, enforce_sorted=False)
        packed, _ = self.lstm(packed)
        packed, _ = self.gru(packed)
        hidden, _ = pad_packed_sequence(packed, batch_first=True)
        return self.head(self.down(hidden))


model = Language()
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
for step in running.steps():
    lengths = torch.randint(2, 9, (6,))
    words = torch.randint(WORDS, (6, int(lengths.max()) + 1))
    out = model(words[:, :-1], lengths)
    loss = F.cross_entropy(out.flatten(0, 1), words[:, 1:].flatten())
    optimizer.zero_grad()
    loss.backward()
    grad_norm = running.norm(model.parameters())
    optimizer.step()
    sizes = {"words": int(lengths.sum()), "padded": words.numel() - 6}
    running.say(step=step, loss=loss.item(), grad_norm=grad_norm, **sizes)
running.leave(model, optimizer)
