"""Gradient scalers (`torch.amp.GradScaler`): which exist, and which steps they leave out."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import torch

from tuimon.agent.finding.scan import living


def scaler_types() -> Iterator[Any]:
    """The classes whose `scale` is their own: PyTorch's, and that of sharded trainings if it is loaded."""
    scaler = getattr(torch.amp, "GradScaler", None)
    if scaler is not None:
        yield scaler
    sharded = sys.modules.get("torch.distributed.fsdp.sharded_grad_scaler")
    if (sharded_scaler := getattr(sharded, "ShardedGradScaler", None)) is not None:
        yield sharded_scaler


def scalers_in_use() -> list[Any]:
    """Those that have scaled a loss, found by looking at every object: on the training's thread, once."""
    found = [scaler for kind in scaler_types() for scaler in living(kind)]
    return [scaler for scaler in dict.fromkeys(found) if getattr(scaler, "_scale", None) is not None]


def left_out(optimizer: Any) -> bool:
    """Whether this step, which is running, changes nothing: a fused optimizer looks at that by itself.

    An optimizer that is not fused is not called at all then. On a device the answer would have to be waited
    for, so there it is no.
    """
    found_inf = getattr(optimizer, "found_inf", None)
    if not isinstance(found_inf, torch.Tensor) or not found_inf.is_cpu:
        return False
    return bool(found_inf)
