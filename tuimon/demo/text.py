"""Real text that every machine has: the sources of Python's standard library, as bytes."""

from __future__ import annotations

import sysconfig
from pathlib import Path

import torch


def standard_library(limit_bytes: int = 4_000_000) -> torch.Tensor:
    """The standard library's top-level modules, one after another: uint8 [at most `limit_bytes`].

    Raises:
        FileNotFoundError: this Python came without its library's sources.
    """
    folder = Path(sysconfig.get_path("stdlib"))
    text = bytearray()
    for path in sorted(folder.glob("*.py")):
        text += path.read_bytes()
        if len(text) >= limit_bytes:
            break
    if not text:
        raise FileNotFoundError(f"no Python sources in {folder}: the demo has no text to learn")
    return torch.frombuffer(text[:limit_bytes], dtype=torch.uint8)


def random_batch(
    text: torch.Tensor, rows: int, context: int, source: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Random windows of the text and the byte that follows each position: int64 [rows, context], twice."""
    starts = torch.randint(len(text) - context - 1, (rows, 1), generator=source)
    windows = text[starts + torch.arange(context + 1)].long()
    return windows[:, :-1], windows[:, 1:]
