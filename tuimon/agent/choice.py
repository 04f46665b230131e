"""Which kernels read the tensors of a training that was entered while it runs."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tuimon.agent.bootstrap import gently
from tuimon.agent.guard import say
from tuimon_kernels import backend, reference

if TYPE_CHECKING:
    from tuimon_kernels import Backend


def kernels_for(options: Mapping[str, Any]) -> Backend:
    """The CPU's kernels, loaded, at little cost for the thread that trains. Never raises.

    Compiling them takes some 15 s, much of it with the interpreter held, so it never happens in here: whoever
    enters has another process compile them into a cache beforehand, and names it in `options["kernels"]`, the
    directory from which `tuimon_kernels` was loaded. Without it plain torch reads the tensors, which needs no
    compiler and is slower. A process that has Numba's kernels in use already goes on with those.
    """
    if not options.get("kernels") and not _in_use():
        return reference.BACKEND
    try:
        with gently():
            kernels = backend("cpu") or reference.BACKEND
            kernels.warm()
    except Exception as error:  # of a compiler or a cache that does not fit this machine
        say(f"its kernels do not load here ({type(error).__name__}), so plain torch reads the tensors")
        return reference.BACKEND
    return kernels


def _in_use() -> bool:
    """Whether this process has loaded the compiled kernels before, as a script with `tuimon.watch` has."""
    try:
        entries = sys.modules["tuimon_kernels.cpu_entries"].entries
    except (KeyError, AttributeError):
        return False
    return bool(entries.cache_info().currsize)
