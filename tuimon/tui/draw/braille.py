"""A raster of dots that becomes characters: braille, or points and colons where only ASCII is."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

Dots = NDArray[np.bool_]

#: Bit of the braille pattern for the dot in that row and column of a cell (Unicode 15, section 21.1).
_BRAILLE: Final = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]], np.uint16)
_BLANK: Final = 0x2800
#: The same for ASCII: nothing, upper, lower, both.
_ASCII: Final = " '.:"


def resolution(ascii: bool) -> tuple[int, int]:
    """Dots (columns, rows) that a cell holds."""
    return (1, 2) if ascii else (2, 4)


def raster(width: int, height: int, ascii: bool = False) -> Dots:
    """No dots yet: bool[rows, columns] for that many cells."""
    across, down = resolution(ascii)
    return np.zeros((height * down, width * across), np.bool_)


def characters(dots: Dots, ascii: bool = False) -> list[str]:
    """One string a row of cells; a cell without a dot is a space."""
    across, down = resolution(ascii)
    rows, columns = dots.shape[0] // down, dots.shape[1] // across
    blocks = dots.reshape(rows, down, columns, across)
    if ascii:
        codes = blocks[:, 0, :, 0] + 2 * blocks[:, 1, :, 0].astype(np.int64)
        return ["".join(_ASCII[code] for code in row) for row in codes.tolist()]
    bits = (blocks * _BRAILLE[None, :, None, :]).sum(axis=(1, 3))
    return ["".join(chr(_BLANK + bit) if bit else " " for bit in row) for row in bits.tolist()]


def trace(dots: Dots, heights: NDArray[np.float64]) -> None:
    """Draw a connected curve: `heights` float64[columns] in [0, 1] from the bottom, NaN for a hole."""
    rows = dots.shape[0]
    known = np.isfinite(heights)
    levels = np.zeros(len(heights), np.int64)
    # A hair to one side: what lies between two rows shall not flicker between them.
    levels[known] = np.clip(np.round((1.0 - heights[known]) * (rows - 1) + 1e-6), 0, rows - 1)
    previous: int | None = None
    for column in range(len(heights)):
        if not known[column]:
            previous = None
            continue
        here = int(levels[column])
        dots[here, column] = True
        if previous is not None and abs(here - previous) > 1:
            _join(dots, column, previous, here)
        previous = here


def _join(dots: Dots, column: int, before: int, here: int) -> None:
    """Fill the way from the previous column's dot, half of it in either column."""
    middle = (before + here) // 2
    low, high = sorted((before, middle))
    dots[low : high + 1, column - 1] = True
    low, high = sorted((middle, here))
    dots[low : high + 1, column] = True


def bridged(heights: NDArray[np.float64], longest: int) -> NDArray[np.float64]:
    """The same heights with straight lines over holes of at most `longest` columns between two values."""
    known = np.flatnonzero(np.isfinite(heights))
    if not longest or len(known) < 2:
        return heights
    columns = np.arange(len(heights))
    before = np.clip(np.searchsorted(known, columns, side="right") - 1, 0, len(known) - 1)
    after = np.minimum(before + 1, len(known) - 1)
    short = (known[after] - known[before] - 1 <= longest) & (columns > known[0]) & (columns < known[-1])
    lines = np.interp(columns, known, heights[known])
    return np.where(np.isfinite(heights), heights, np.where(short, lines, np.nan))


def band(dots: Dots, low: NDArray[np.float64], high: NDArray[np.float64]) -> None:
    """Fill each column between two heights in [0, 1]; NaN for a hole."""
    rows = dots.shape[0]
    known = np.isfinite(low) & np.isfinite(high)
    top = np.round((1.0 - np.where(known, np.clip(high, 0, 1), 0.0)) * (rows - 1))
    bottom = np.round((1.0 - np.where(known, np.clip(low, 0, 1), 0.0)) * (rows - 1))
    row = np.arange(rows)[:, None]
    dots |= known & (row >= top) & (row <= bottom)
