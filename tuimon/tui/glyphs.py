"""The characters that the screen is made of, and what becomes of them where only ASCII can be shown."""

from __future__ import annotations

from typing import Final

from tuimon.records.alert import Severity

#: Frames: horizontal, vertical, and corners clockwise from the top left.
HORIZONTAL: Final = "─"
VERTICAL: Final = "│"
CORNERS: Final = "╭╮╯╰"

#: The connection.
LIVE: Final = "●"
RECONNECTING: Final = "◌"
ENDED: Final = "■"
CONNECTING: Final = "○"

SEVERITY: Final = {Severity.INFO: "•", Severity.WARNING: "▲", Severity.CRITICAL: "✖"}
WELL: Final = "✓"

#: The selected row, and the moment looked at.
CURSOR: Final = "▸"
RULE: Final = "┊"
#: Where a value is not finite, and where a cell of the heat map was not measured.
NONFINITE: Final = "×"
UNSEEN: Final = "·"
FALLING: Final = "▼"
RISING: Final = "▲"
ABOVE: Final = "↑"
BELOW: Final = "↓"
DOT: Final = "·"
HALF: Final = "▀"
#: Bars of one to eight eighths of a cell.
BARS: Final = "▁▂▃▄▅▆▇█"
#: Heat without colour, low to high.
SHADES: Final = " ·░░▒▒▓▓██"
ASCII_SHADES: Final = " .:-=+*#%@"

#: One character for one character, so that no width changes.
_TO_ASCII: Final = str.maketrans(
    HORIZONTAL + VERTICAL + CORNERS + LIVE + RECONNECTING + ENDED + CONNECTING + "•▲✖" + WELL + CURSOR
    + RULE + NONFINITE + UNSEEN + FALLING + ABOVE + BELOW + BARS + "–…µ→‖Δ«»−",
    "-" + "|" + "++++" + "*" + "~" + "#" + "o" + "i!X" + "v" + ">"
    + ":" + "x" + "." + "v" + "^" + "v" + ".:-=+*#@" + "-.u>|d<>-",
)  # fmt: skip


def to_ascii(text: str) -> str:
    """The same text of the same width in ASCII; what has no likeness becomes "?"."""
    if text.isascii():
        return text
    return text.translate(_TO_ASCII).encode("ascii", "replace").decode("ascii")
