"""Rows of the layers picture: layers in execution order, those of a block folded into one or not."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

#: A block is everything up to the first number in a name: "blocks.7" of "blocks.7.mlp.act".
_BLOCK = re.compile(r"^(?:.*?\.)?\d+(?=\.)")
#: A part of a block is one name more: "blocks.7.mlp".
_PART = re.compile(r"^(?:.*?\.)?\d+\.[^.]+(?=\.)")


@dataclass(frozen=True, slots=True)
class Row:
    """One row: a layer, or several folded into one."""

    #: What to call it: the layer's name, or that of the block or part.
    name: str
    #: Indices of its layers.
    layers: tuple[int, ...]
    #: The block that it is, or is of; None when it belongs to none.
    block: str | None

    @property
    def folded(self) -> bool:
        """Whether it stands for several layers."""
        return len(self.layers) > 1


def block_of(name: str) -> str | None:
    """The block of a layer by its name; None without a numbered part."""
    found = _BLOCK.match(name)
    return found.group() if found else None


def _part_of(name: str) -> str | None:
    found = _PART.match(name)
    return found.group() if found else None


def blocks(names: Iterable[str]) -> frozenset[str]:
    """Blocks of more than one layer, which is to say those that can be folded."""
    seen = Counter(block_of(name) for name in names)
    return frozenset(block for block, layers in seen.items() if block is not None and layers > 1)


def parts(names: Iterable[str]) -> frozenset[str]:
    """Parts of blocks that have more than one layer."""
    seen = Counter(_part_of(name) for name in names)
    return frozenset(part for part, layers in seen.items() if part is not None and layers > 1)


@lru_cache(maxsize=32)
def fold_to_fit(names: tuple[str, ...], room: int, first: tuple[str, ...] = ()) -> frozenset[str]:
    """What to fold so that all rows have room: nothing, else the parts of blocks, else the blocks.

    Args:
        names: all layers.
        room: rows that there are.
        first: blocks that deserve detail, the most deserving first: they stay unfolded as far as it goes.
    """
    if len(names) <= room:
        return frozenset()
    by_part, by_block = parts(names), blocks(names)
    folded = by_part if len(rows(names, by_part)) <= room else by_block | by_part
    for block in first:
        of_block = frozenset(fold for fold in folded if fold == block or fold.startswith(f"{block}."))
        for detailed in (folded - of_block, folded - {block}):
            if len(rows(names, detailed)) <= room:
                folded = detailed
                break
    return folded


@lru_cache(maxsize=64)
def rows(
    names: tuple[str, ...], folded: frozenset[str], keep: re.Pattern[str] | None = None
) -> tuple[Row, ...]:
    """Rows in execution order; what is folded stands where its first layer is.

    Args:
        names: all layers.
        folded: blocks, and parts of blocks, that are one row.
        keep: only layers whose name it is found in. Then nothing is folded: who searches wants to see.
    """
    if keep is not None:
        return tuple(Row(name, (i,), block_of(name)) for i, name in enumerate(names) if keep.search(name))
    members: dict[str, list[int]] = {}
    for i, name in enumerate(names):
        members.setdefault(_row_name(name, folded), []).append(i)
    return tuple(Row(name, tuple(layers), block_of(f"{name}.")) for name, layers in members.items())


def _row_name(name: str, folded: Collection[str]) -> str:
    for group in (block_of(name), _part_of(name)):
        if group is not None and group in folded:
            return group
    return name


def row_of(shown: Sequence[Row], layer: int) -> int | None:
    """The row that shows a layer; None when it is filtered out."""
    return next((i for i, row in enumerate(shown) if layer in row.layers), None)


def choose(importance: Sequence[float], room: int) -> list[int]:
    """The `room` most important rows, in their order; all of them when there is room."""
    if len(importance) <= room:
        return list(range(len(importance)))
    ranked = sorted(range(len(importance)), key=lambda i: (-importance[i], i))
    return sorted(ranked[: max(0, room)])


def scrolled(count: int, room: int, cursor: int, start: int) -> int:
    """Where a window of `room` rows begins so that the cursor is inside, moved as little as possible."""
    if count <= room:
        return 0
    if cursor < start:
        start = cursor
    elif cursor >= start + room:
        start = cursor - room + 1
    return max(0, min(start, count - room))
