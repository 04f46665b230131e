"""Hooks as they are put on modules that people copy and pickle."""

from __future__ import annotations

import contextlib
import functools
from typing import Any


class Hook(functools.partial[None]):
    """A hook that does not travel: a copied or pickled module gets one that does nothing instead.

    A copy of a model (an average of its weights, a checkpoint of the whole module) is made at any time, also
    while hooks are on it. With ours it would drag the agent along, which cannot be copied.
    """

    __slots__ = ()

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        # Takes any arguments, returns None, and is found where tuimon is not installed.
        return getattr, (contextlib.nullcontext(), "__exit__")
