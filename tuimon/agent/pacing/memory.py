"""Memory of the training process."""

from __future__ import annotations

import os
import time

import torch

_PAGE_BYTES = os.sysconf("SC_PAGESIZE")


#: How long a look at resident memory holds, seconds: it takes 9 us (opening a file of /proc), and memory that
#: changes from one millisecond to the next would be of no use on a screen.
_HOLDS_S = 0.1
_latest: tuple[float, int | None] = (-_HOLDS_S, None)


def rss_bytes() -> int | None:
    """Resident memory of this process, at most `_HOLDS_S` ago; None where /proc does not tell."""
    global _latest
    now_s = time.monotonic()
    if now_s - _latest[0] >= _HOLDS_S:
        _latest = now_s, _look()
    return _latest[1]


def _look() -> int | None:
    try:
        with open("/proc/self/statm", "rb") as statm:
            return int(statm.read().split()[1]) * _PAGE_BYTES
    except (OSError, IndexError, ValueError):
        return None


def cuda_bytes() -> int | None:
    """Memory that the CUDA allocator has handed out on all devices; None while CUDA is not in use."""
    # Not whether it is available: that asks the environment, at 9 us a time.
    if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return None
    return sum(torch.cuda.memory_allocated(device) for device in range(torch.cuda.device_count()))
