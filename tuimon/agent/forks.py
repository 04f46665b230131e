"""What a fork copies and its child must let go of, such as the workers of a DataLoader."""

from __future__ import annotations

import functools
import os
import weakref
from typing import Protocol


class Forgettable(Protocol):
    """Holds descriptors that belong to the process that made them."""

    def forget(self) -> None:
        """Called in the child of a fork: close descriptors, touch nothing that others see."""


def forget_in_children(one: Forgettable) -> None:
    """Have `one.forget` called in each process forked from now on, for as long as `one` lives."""
    _held().add(one)


@functools.cache
def _held() -> weakref.WeakSet[Forgettable]:
    # Made and registered at the first use: a registration cannot be taken back, so there is one.
    held: weakref.WeakSet[Forgettable] = weakref.WeakSet()
    os.register_at_fork(after_in_child=lambda: _forget_all(held))
    return held


def _forget_all(held: weakref.WeakSet[Forgettable]) -> None:
    for one in list(held):
        one.forget()
