"""How much room the screen needs."""

from __future__ import annotations

from typing import Final

#: Columns and rows below which nothing but a line saying so is drawn.
SMALLEST: Final = (60, 16)
#: Columns and rows from which the full overview is drawn; below it is the compact one.
FULL: Final = (120, 30)


def fits(width: int, height: int) -> bool:
    """Whether a terminal of that size can show the monitor."""
    return width >= SMALLEST[0] and height >= SMALLEST[1]


def is_full(width: int, height: int) -> bool:
    """Whether the full overview has room."""
    return width >= FULL[0] and height >= FULL[1]


def too_small(width: int, height: int) -> str:
    """The one line for a terminal that cannot show the monitor."""
    return f"tuimon needs a terminal of {SMALLEST[0]}x{SMALLEST[1]} at least; this one is {width}x{height}"
