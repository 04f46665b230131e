"""Fewest bytes to the terminal: only cells that differ from what it shows already, only styles that change.

Textual sends again every row of a region that was refreshed, with the whole style of each run. Over ssh that
is what a monitor costs, so the updates that Textual hands to its driver pass through here first. What this
leans on in Textual is private (`App._display`, two update classes), hence the cap on its version, and the
test that counts bytes.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from rich.cells import cell_len, get_character_cell_size
from rich.color import Color, ColorSystem, ColorType
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.segment import Segment
from rich.style import Style
from textual._compositor import ChopsUpdate, CompositorUpdate, LayoutUpdate

#: Attributes, foreground and background as the parameters of an SGR sequence.
Pen = tuple[str, str, str]
_PLAIN: Pen = ("", "39", "49")
#: Equal cells between two changes that are cheaper to send again than to jump over.
_BRIDGE = 3
#: A piece of an update: column, row, and what stands there from then on.
Piece = tuple[int, int, Iterable[Segment]]


class Glass:
    """What the terminal shows, cell by cell. One per app; all screens write to the same one."""

    def __init__(self, coloured: bool = True) -> None:
        self._coloured = coloured
        self._size = (0, 0)
        self._characters: list[list[str | None]] = []
        self._pens: list[list[Pen]] = []

    def forget(self) -> None:
        """What the terminal shows is not known any more: the next update is sent in full."""
        self._size = (0, 0)

    def resize(self, width: int, height: int) -> None:
        """Forget everything if that is another size."""
        if self._size != (width, height):
            self._size = (width, height)
            self._characters = [[None] * width for _ in range(height)]
            self._pens = [[_PLAIN] * width for _ in range(height)]

    def write(self, pieces: Iterable[Piece], system: ColorSystem) -> str:
        """The sequences that bring the terminal from what it shows to these pieces."""
        out: list[str] = []
        pen: Pen | None = None
        for x, y, segments in pieces:
            pen = self._piece(x, y, segments, system, out, pen)
        if pen is not None:
            out.append("\x1b[0m")
        return "".join(out)

    def _piece(
        self, x: int, y: int, segments: Iterable[Segment], system: ColorSystem, out: list[str],
        pen: Pen | None,
    ) -> Pen | None:  # fmt: skip
        if not 0 <= y < len(self._characters):
            return pen
        characters, pens = _cells(segments, system, self._coloured)
        row, row_pens = self._characters[y], self._pens[y]
        end = min(len(row), x + len(characters))
        del characters[end - x :], pens[end - x :]
        if row[x:end] == characters and row_pens[x:end] == pens:
            return pen
        for start, stop in _changes(row[x:end], characters, row_pens[x:end], pens):
            out.append(f"\x1b[{y + 1};{x + start + 1}H")
            for i in range(start, stop):
                if pens[i] != pen:
                    out.append(_turn(pen, pens[i]))
                    pen = pens[i]
                out.append(characters[i] or "")
        row[x:end] = characters
        row_pens[x:end] = pens
        return pen


class LeanUpdate(CompositorUpdate):
    """An update of Textual's, sent through a `Glass`."""

    def __init__(self, pieces: list[Piece], glass: Glass) -> None:
        self._pieces = pieces
        self._glass = glass

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Segment(self.render_segments(console))

    def render_segments(self, console: Console) -> str:
        """The bytes for the terminal."""
        self._glass.resize(*console.size)
        return self._glass.write(self._pieces, console._color_system or ColorSystem.TRUECOLOR)


def lean(update: RenderableType | None, glass: Glass) -> RenderableType | None:
    """The same update, lean; unchanged if it is of a kind that is not known here."""
    if isinstance(update, LayoutUpdate):
        pieces: list[Piece] = [
            (update.region.x, y, [segment for strip in line for segment in strip])
            for y, line in enumerate(update.strips, update.region.y)
        ]
        return LeanUpdate(pieces, glass)
    if isinstance(update, ChopsUpdate):
        return LeanUpdate(list(_chopped(update)), glass)
    if update is not None:
        glass.forget()
    return update


def _chopped(update: ChopsUpdate) -> Iterable[Piece]:
    done: set[tuple[int, int]] = set()
    for y, x1, x2 in update.spans:
        for end, (x, strip) in zip(update.chop_ends[y], update.chops[y].items(), strict=False):
            if strip is not None and x <= x2 and end > x1 and (x, y) not in done:
                done.add((x, y))
                yield x, y, strip


def _cells(
    segments: Iterable[Segment], system: ColorSystem, coloured: bool
) -> tuple[list[str | None], list[Pen]]:
    """One entry a column; a character of two columns is followed by an empty one."""
    characters: list[str | None] = []
    pens: list[Pen] = []
    for text, style, control in segments:
        if control or not text:
            continue
        pen = _PLAIN if style is None else _pen(style, system, coloured)
        if text.isascii() or cell_len(text) == len(text):
            characters.extend(text)
            pens.extend([pen] * len(text))
            continue
        for character in text:
            width = get_character_cell_size(character)
            if width == 0:
                if characters:
                    characters[-1] = (characters[-1] or "") + character
                continue
            characters.extend([character, ""][:width])
            pens.extend([pen] * width)
    return characters, pens


def _changes(
    old: list[str | None], new: list[str | None], old_pens: list[Pen], new_pens: list[Pen]
) -> list[tuple[int, int]]:
    """Runs [start, stop) to be sent: what differs, with short equal stretches between."""
    runs: list[tuple[int, int]] = []
    for i in range(len(new)):
        if old[i] == new[i] and (old_pens[i] is new_pens[i] or old_pens[i] == new_pens[i]):
            continue
        start, stop = i, i + 1
        while start and new[start] == "":
            start -= 1
        while stop < len(new) and new[stop] == "":
            stop += 1
        if runs and start - runs[-1][1] <= _BRIDGE:
            runs[-1] = (runs[-1][0], max(stop, runs[-1][1]))
        else:
            runs.append((start, stop))
    return runs


def _turn(before: Pen | None, after: Pen) -> str:
    """The sequence from one pen to another; attributes can only be taken off all at once."""
    if before is None or before[0] != after[0]:
        parts = ["0", after[0], *(c for c in after[1:] if c not in ("39", "49"))]
    else:
        parts = [new for old, new in zip(before[1:], after[1:], strict=True) if old != new]
    return f"\x1b[{';'.join(part for part in parts if part)}m"


@lru_cache(maxsize=4096)
def _pen(style: Style, system: ColorSystem, coloured: bool) -> Pen:
    flags = ((style.bold, "1"), (style.dim, "2"), (style.italic, "3"), (style.underline, "4"),
             (style.reverse, "7"), (style.strike, "9"))  # fmt: skip
    attributes = ";".join(code for on, code in flags if on)
    if not coloured:
        return attributes, "39", "49"
    return attributes, _colour(style.color, system, True), _colour(style.bgcolor, system, False)


def _colour(colour: Color | None, system: ColorSystem, foreground: bool) -> str:
    if colour is None:
        return "39" if foreground else "49"
    if colour.type is ColorType.TRUECOLOR and colour.triplet is not None:
        index = palette_index(*colour.triplet)
        if index is not None and system in (ColorSystem.TRUECOLOR, ColorSystem.EIGHT_BIT):
            return f"{38 if foreground else 48};5;{index}"
    return ";".join(colour.downgrade(system).get_ansi_codes(foreground))


def palette_index(red: int, green: int, blue: int) -> int | None:
    """The entry of the 256-colour palette that is exactly this colour; half as long to send."""
    levels = (0, 95, 135, 175, 215, 255)
    if red in levels and green in levels and blue in levels:
        return 16 + 36 * levels.index(red) + 6 * levels.index(green) + levels.index(blue)
    if red == green == blue and 8 <= red <= 238 and (red - 8) % 10 == 0:
        return 232 + (red - 8) // 10
    return None
