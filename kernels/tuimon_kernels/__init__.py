"""The sketch: one pass over a tensor that yields all that tuimon shows of it.

`spec` says what a sketch is, `reference` computes it slowly and obviously in float64 torch, `cpu` fast with
Numba. `backend` chooses by device. Importing this package imports neither torch, numba nor triton.
"""

from __future__ import annotations

from tuimon_kernels.backend import Backend, Warmth
from tuimon_kernels.geometry import dense, slot_for
from tuimon_kernels.spec import Activity, DType, Layout, Packed, ReadOut, Slot

__all__ = [
    "Activity",
    "Backend",
    "DType",
    "Layout",
    "Packed",
    "ReadOut",
    "Slot",
    "Warmth",
    "backend",
    "dense",
    "slot_for",
]


def backend(device_type: str) -> Backend | None:
    """Return the best implementation for tensors of this device type, None when there is none yet.

    On the CPU Numba serves where it can be imported, else the torch reference, which is slow: `Backend.name`
    says which.
    """
    if device_type != "cpu":
        return None
    try:
        from tuimon_kernels import cpu
    # A numba that does not fit its numpy, or an llvmlite that cannot load its library, is as good as none.
    except (ImportError, OSError, SystemError, AttributeError):
        from tuimon_kernels import reference

        return reference.BACKEND
    return cpu.BACKEND
