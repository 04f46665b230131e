"""Names for tensors that no module owns: those that the script itself gives them.

Only the script's own global variables are read, which a notebook's cells share. What a function calls its
tensors stays unknown: reading a running function's variables would keep its tensors alive.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Any


def script_names(tensors: Iterable[object]) -> dict[int, str]:
    """The name of each tensor (by identity) that has one: "W1", "params.W1", "layers.0" or "net.W1"."""
    wanted = {id(tensor) for tensor in tensors}
    found: dict[int, str] = {}
    variables = list(getattr(sys.modules.get("__main__"), "__dict__", {}).items())
    for name, value in variables:
        if id(value) in wanted and not name.startswith("_"):
            found.setdefault(id(value), name)
    # A list of them all is the usual way to walk through them: their own names say more.
    for name, value in variables:
        for key, inner in _inside(value):
            if id(inner) in wanted and not name.startswith("_"):
                found.setdefault(id(inner), f"{name}.{key}")
    return found


def _inside(value: Any) -> Iterator[tuple[Any, Any]]:
    """What a plain container, or an object of the script's own classes, holds.

    By exact type: others may do anything when they are walked through.
    """
    kind = type(value)
    if kind is dict:
        yield from list(value.items())
    elif kind is list or kind is tuple:
        yield from enumerate(list(value))
    elif kind.__module__ == "__main__":
        yield from list(getattr(value, "__dict__", {}).items())
