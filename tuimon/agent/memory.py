"""Memory of the training process."""

from __future__ import annotations

import os

import torch

_PAGE_BYTES = os.sysconf("SC_PAGESIZE")


def rss_bytes() -> int | None:
    """Resident memory of this process; None where /proc does not tell."""
    try:
        with open("/proc/self/statm", "rb") as statm:
            return int(statm.read().split()[1]) * _PAGE_BYTES
    except (OSError, IndexError, ValueError):
        return None


def cuda_bytes() -> int | None:
    """Memory that the CUDA allocator has handed out on all devices; None while CUDA is not in use."""
    if not torch.cuda.is_available() or not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return None
    return sum(torch.cuda.memory_allocated(device) for device in range(torch.cuda.device_count()))
