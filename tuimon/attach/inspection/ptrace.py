"""Whether this machine lets anybody look into a process: tried on one made for it."""

from __future__ import annotations

import ctypes
import os
import subprocess

_SEIZE = 0x4206


def refusal() -> OSError | None:
    """Why the kernel refuses to trace a child of this very process; None if it does not.

    A child may be traced even where other processes may not, so this finds what forbids it altogether:
    a container's filter, or `kernel.yama.ptrace_scope` 3.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
    libc.ptrace.restype = ctypes.c_long
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as child:
        # Seizing stops nothing, and ends with the child.
        refused = libc.ptrace(_SEIZE, child.pid, None, None) != 0
        error = ctypes.get_errno()
    return OSError(error, os.strerror(error)) if refused else None
