"""A small GPT over bytes, with the switches that the demo's faults turn.

Shapes: B rows, T bytes of context, D width, H heads.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

#: Each token is a byte.
VOCABULARY = 256


@dataclass(frozen=True, slots=True)
class Shape:
    """How large the model is, and which of the usual precautions it takes."""

    blocks: int = 6
    width: int = 96
    heads: int = 4
    context: int = 64
    activation: type[nn.Module] = nn.ReLU
    #: Layer norms before attention, MLP and head; skip connections around the first two.
    norms: bool = True
    skips: bool = True
    #: Factor on the usual initial scale of the MLP's weights.
    gain: float = 1.0
    #: Softmax in half precision without subtracting the maximum.
    reckless_softmax: bool = False


class Attention(nn.Module):
    """Causal self-attention: [B, T, D] to [B, T, D]."""

    #: [T, T]: True where a position would look ahead.
    future: torch.Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.qkv = nn.Linear(shape.width, 3 * shape.width)
        self.weigh = RecklessSoftmax() if shape.reckless_softmax else nn.Softmax(dim=-1)
        self.out = nn.Linear(shape.width, shape.width)
        future = torch.ones(shape.context, shape.context, dtype=torch.bool).triu(1)
        self.register_buffer("future", future, persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Let each position read itself and the positions before it."""
        rows, length, width = x.shape
        q, k, v = self.qkv(x).view(rows, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        scores = q @ k.transpose(-2, -1) / math.sqrt(width // self.heads)
        weights = self.weigh(scores.masked_fill(self.future[:length, :length], -math.inf))
        return self.out((weights @ v).transpose(1, 2).reshape(rows, length, width))


class RecklessSoftmax(nn.Module):
    """exp(x) / sum(exp(x)) taken literally: in half precision exp overflows above 11.09."""

    def forward(self, scores: torch.Tensor) -> torch.Tensor:
        """[..., T] to [..., T]; NaN wherever a score has grown too large."""
        exp = scores.half().exp()
        return (exp / exp.sum(dim=-1, keepdim=True)).to(scores.dtype)


class Mlp(nn.Module):
    """Two linear layers around an activation: [B, T, D] to [B, T, D]."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.up = nn.Linear(shape.width, 4 * shape.width)
        self.act = shape.activation()
        self.down = nn.Linear(4 * shape.width, shape.width)
        with torch.no_grad():
            self.up.weight.mul_(shape.gain)
            self.down.weight.mul_(shape.gain)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Transform each position by itself."""
        return self.down(self.act(self.up(x)))


class Block(nn.Module):
    """Attention, then the MLP: [B, T, D] to [B, T, D]."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.skips = shape.skips
        self.norm1 = nn.LayerNorm(shape.width) if shape.norms else nn.Identity()
        self.attn = Attention(shape)
        self.norm2 = nn.LayerNorm(shape.width) if shape.norms else nn.Identity()
        self.mlp = Mlp(shape)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Mix over positions, then over channels."""
        if not self.skips:
            return self.mlp(self.norm2(self.attn(self.norm1(x))))
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class ByteTransformer(nn.Module):
    """Predicts the next byte: int64 [B, T] to logits [B, T, 256]."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.token = nn.Embedding(VOCABULARY, shape.width)
        self.position = nn.Embedding(shape.context, shape.width)
        self.blocks = nn.Sequential(*(Block(shape) for _ in range(shape.blocks)))
        self.norm = nn.LayerNorm(shape.width) if shape.norms else nn.Identity()
        self.head = nn.Linear(shape.width, VOCABULARY)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Logits of the byte after each position."""
        places = torch.arange(tokens.shape[1], device=tokens.device)
        return self.head(self.norm(self.blocks(self.token(tokens) + self.position(places))))
