"""PyTorch's tables of hooks that are called for every module or optimizer, with one of ours at their end.

PyTorch walks through such a table while the hooks in it run, so a table that another thread, or one of the
hooks, changes meanwhile raises an error in the training. Ours is therefore never written into: a table of
our own takes the place of the original, shows what stands there and the hook behind it, and hands on what
the training adds or removes. Taking it away again leaves the original as if nothing had been.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, KeysView
from types import ModuleType
from typing import Any

#: The key of ours; PyTorch counts its own from 0.
_OURS = -1

#: Tables that the training has written to: the handles that it got for that refer to them, weakly.
_written_to: list[HookTable] = []


class HookTable(OrderedDict[int, Any]):
    """The table `name` of a module of PyTorch, with an entry of ours behind all others.

    One object serves all its life, since compiled code is made anew for a table that it has not met.
    """

    def __init__(self, module: ModuleType, name: str, ours: Callable[..., None] | bool) -> None:
        super().__init__()
        self._module, self._name, self._ours = module, name, ours
        self._original: dict[int, Any] = getattr(module, name)
        self._in_place = False

    def put(self) -> None:
        """Have the entry seen from now on. From any thread; idempotent."""
        if not self._in_place:
            self._original = getattr(self._module, self._name)
            self._in_place = True
            setattr(self._module, self._name, self)

    def take(self) -> None:
        """Put the original back. From any thread; idempotent. Where somebody else has replaced
        the table meanwhile, ours stays within theirs and shows only what is not ours.
        """
        if self._in_place:
            self._in_place = False
            if getattr(self._module, self._name) is self:
                setattr(self._module, self._name, self._original)

    @property
    def original(self) -> dict[int, Any]:
        """What stands there without us."""
        return self._original

    def _entries(self) -> dict[int, Any]:
        entries = OrderedDict(self._original)
        if self._in_place:
            entries[_OURS] = self._ours
        return entries

    # What PyTorch, and the handles that it gives out, ask of such a table.

    def keys(self) -> KeysView[int]:  # type: ignore[override]  # noqa: D102
        return self._entries().keys()

    # Asked at each step of each optimizer, and at each call of a module.

    def values(self) -> Iterable[Any]:  # type: ignore[override]  # noqa: D102
        return (*self._original.values(), self._ours) if self._in_place else tuple(self._original.values())

    def items(self) -> Iterable[tuple[int, Any]]:  # type: ignore[override]  # noqa: D102
        ours = ((_OURS, self._ours),) if self._in_place else ()
        return (*self._original.items(), *ours)

    def __iter__(self) -> Iterator[int]:
        return iter(self._entries())

    def __len__(self) -> int:
        return len(self._original) + self._in_place

    def __contains__(self, key: object) -> bool:
        return key in self._original or (self._in_place and key == _OURS)

    def __getitem__(self, key: int) -> Any:
        return self._entries()[key]

    def __setitem__(self, key: int, entry: Any) -> None:
        if self not in _written_to:
            _written_to.append(self)
        self._original[key] = entry

    def __delitem__(self, key: int) -> None:
        del self._original[key]

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = object.__hash__  # type: ignore[assignment]
