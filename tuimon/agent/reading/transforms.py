"""Tensors that stand for others, as `torch.func` and `torch.vmap` make them: they have no memory to read.

The names are private, so each may be missing; then nothing is known to be transformed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

_functorch = getattr(torch._C, "_functorch", None)

#: What transforms the code that runs now (`torch.func.grad`, `vmap`); None when nothing does. 40 ns.
transforming: Callable[[], Any] = getattr(_functorch, "peek_interpreter_stack", lambda: None)

#: Whether a gradient is a batch of them, as `torch.autograd.grad(..., is_grads_batched=True)` has. 75 ns.
is_batch: Callable[[torch.Tensor], bool] = getattr(_functorch, "is_legacy_batchedtensor", lambda _: False)
