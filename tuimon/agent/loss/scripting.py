"""What `torch.jit.script` needs to know of wrapped functions, to take them for their originals.

It finds the functions of C by identity, in a table; a wrapped one that is not there it cannot compile. The
name is private, so it may be missing one day.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import Any

from torch.jit import _builtins

_table: Callable[[], MutableMapping[int, str]] = getattr(_builtins, "_get_builtin_table", dict)


def introduce(original: Any, ours: Any) -> None:
    """Let scripts call `ours` where they would call `original`."""
    table = _table()
    if (operator := table.get(id(original))) is not None:
        table[id(ours)] = operator


def forget(ours: Any) -> None:
    """Undo that: another object may come to have this identity."""
    _table().pop(id(ours), None)
