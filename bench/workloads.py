"""Four trainings of different shape, each small enough for one CPU thread.

Names as in the results: `mlp` (few large tensors), `deep` (many tiny ones), `resnet` (large activations, few
parameters), `gpt` (both large). Shapes: N batch, C channels, T context, D width.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Batch = tuple[Tensor, Tensor]

#: Different batches that a training cycles through: more would only add cache misses to both sides.
_BATCHES = 4
_VOCABULARY = 256


@dataclass(frozen=True, slots=True)
class Training:
    """A model, its optimizer, and the step that a user's loop would take."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    batches: Iterator[Batch]

    def step(self) -> Tensor:
        """One optimizer step; returns the loss, a 0-dim tensor still on its graph."""
        inputs, targets = next(self.batches)
        self.optimizer.zero_grad()
        outputs = self.model(inputs)
        loss = F.cross_entropy(outputs.flatten(0, -2), targets.flatten())
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return loss


class Deep(nn.Module):
    """100 linear layers of width 64. [N, 64] to [N, 64].

    ReLU is called as a function: the leaves' outputs are 3.3 MB at N = 128, and half of the nodes that run
    are no modules, as in much code that people write.
    """

    def __init__(self, depth: int = 100, width: int = 64) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        for layer in self.layers:
            assert isinstance(layer, nn.Linear)
            # With the default, the signal is subnormal long before the last layer, and subnormals are slow.
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        *hidden, last = self.layers
        for layer in hidden:
            x = F.relu(layer(x))
        logits: Tensor = last(x)
        return logits


class Block(nn.Module):
    """The basic residual block; a 1x1 convolution where the shape changes. [N, C, H, W]."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        stride = 1 if inputs == outputs else 2
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu2 = nn.ReLU()
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False) if stride == 2 else nn.Sequential()

    def forward(self, x: Tensor) -> Tensor:
        """The block's output, [N, outputs, H / stride, W / stride]."""
        y = self.relu1(self.bn1(self.conv1(x)))
        out: Tensor = self.relu2(self.bn2(self.conv2(y)) + self.shortcut(x))
        return out


class Attention(nn.Module):
    """Causal self-attention. [N, T, D] to [N, T, D]."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """What each position gathers from those before it."""
        n, t, d = x.shape
        q, k, v = self.qkv(x).view(n, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        gathered = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        out: Tensor = self.out(gathered.transpose(1, 2).reshape(n, t, d))
        return out


class Layer(nn.Module):
    """One pre-norm transformer layer. [N, T, D] to [N, T, D]."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.ln1, self.attention = nn.LayerNorm(width), Attention(width, heads)
        self.ln2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """The residual stream after this layer."""
        x = x + self.attention(self.ln1(x))
        out: Tensor = x + self.mlp(self.ln2(x))
        return out


class Transformer(nn.Module):
    """A decoder over bytes. int64 [N, T] to logits [N, T, 256]."""

    def __init__(self, layers: int = 6, width: int = 256, heads: int = 8, context: int = 128) -> None:
        super().__init__()
        self.tokens = nn.Embedding(_VOCABULARY, width)
        self.positions = nn.Parameter(0.02 * torch.randn(context, width))
        self.layers = nn.Sequential(*(Layer(width, heads) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, _VOCABULARY)

    def forward(self, x: Tensor) -> Tensor:
        """Logits for the byte after each position."""
        stream = self.layers(self.tokens(x) + self.positions)
        logits: Tensor = self.head(self.norm(stream))
        return logits


def mlp() -> Training:
    """784-1024-1024-10 with ReLU modules, batch 128, SGD."""
    model = nn.Sequential(
        nn.Linear(784, 1024), nn.ReLU(), nn.Linear(1024, 1024), nn.ReLU(), nn.Linear(1024, 10)
    )
    return _training(model, _sgd(model), lambda: torch.randn(128, 784), classes=10)


def deep() -> Training:
    """100 layers of width 64, batch 128, SGD."""
    model = Deep()
    return _training(model, _sgd(model), lambda: torch.randn(128, 64), classes=64)


def resnet() -> Training:
    """14 layers (three stages of two blocks, 16, 32 and 64 wide) on 32x32 colour images, batch 32, SGD."""
    widths = (16, 16, 16, 32, 32, 64, 64)
    blocks = (Block(inputs, outputs) for inputs, outputs in itertools.pairwise(widths))
    stem = (nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
    model = nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))
    return _training(model, _sgd(model), lambda: torch.randn(32, 3, 32, 32), classes=10)


def gpt() -> Training:
    """6 layers, width 256, context 128, batch 8, AdamW."""
    model = Transformer()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)
    return _training(model, optimizer, lambda: torch.randint(_VOCABULARY, (8, 128)), classes=_VOCABULARY)


#: By name: what makes one training. Two calls after the same seed give identical twins.
WORKLOADS: dict[str, Callable[[], Training]] = {"mlp": mlp, "deep": deep, "resnet": resnet, "gpt": gpt}


def seeded(name: str, seed: int = 0) -> Training:
    """The workload of that name, the same every time."""
    torch.manual_seed(seed)
    return WORKLOADS[name]()


def _sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=1e-3)


def _training(
    model: nn.Module, optimizer: torch.optim.Optimizer, inputs: Callable[[], Tensor], classes: int
) -> Training:
    made = [inputs() for _ in range(_BATCHES)]
    # A target per sample, or per position where the inputs are tokens.
    shapes = [x.shape if x.dtype is torch.int64 else x.shape[:1] for x in made]
    batches = [(x, torch.randint(classes, shape)) for x, shape in zip(made, shapes, strict=True)]
    return Training(model, optimizer, itertools.cycle(batches))
