"""The lean writer: a terminal that obeys it shows exactly what was drawn, and gets no byte twice."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import get_character_cell_size
from rich.color import ColorSystem
from rich.segment import Segment
from rich.style import Style

from tuimon.tui.lean import Glass

WIDTH, HEIGHT = 12, 3
STYLES = [
    Style(), Style(color="#63c5bd", bgcolor="#0e1218"), Style(color="#ffffff", bgcolor="#005f87"),
    Style(bold=True), Style(color="red", dim=True), Style(bgcolor="#0e1218", reverse=True),
]  # fmt: skip
_TOKEN = re.compile(r"\x1b\[([\d;]*)([Hm])|(.)", re.DOTALL)


class Terminal:
    """As much of a terminal as the writer uses."""

    def __init__(self) -> None:
        self.cells = [[(" ", frozenset[str]())] * WIDTH for _ in range(HEIGHT)]
        self._x = self._y = 0
        self._pen: dict[str, str] = {}

    def feed(self, data: str) -> None:
        for parameters, final, character in _TOKEN.findall(data):
            if final == "H":
                self._y, self._x = (int(p) - 1 for p in parameters.split(";"))
            elif final == "m":
                self._select(parameters)
            else:
                self._put(character)

    def _select(self, parameters: str) -> None:
        codes = parameters.split(";")
        while codes:
            code = codes.pop(0)
            if code == "0":
                self._pen = {}
            elif code in ("38", "48"):
                count = 1 if codes[0] == "5" else 3
                self._pen[code] = ";".join(codes[: count + 1])
                del codes[: count + 1]
            elif code in ("39", "49"):
                self._pen.pop("38" if code == "39" else "48", None)
            elif 30 <= int(code) <= 37:
                self._pen["38"] = code
            else:
                self._pen[code] = code

    def _put(self, character: str) -> None:
        width = get_character_cell_size(character)
        if width == 0:
            before, pen = self.cells[self._y][self._x - 1]
            self.cells[self._y][self._x - 1] = before + character, pen
            return
        pen = frozenset(f"{k}:{v}" for k, v in self._pen.items())
        self.cells[self._y][self._x] = character, pen
        for i in range(1, width):
            self.cells[self._y][self._x + i] = "", pen
        self._x += width


@st.composite
def lines(draw: st.DrawFn) -> list[Segment]:
    """Exactly `WIDTH` columns."""
    segments: list[Segment] = []
    room = WIDTH
    while room:
        wide = room > 1 and draw(st.booleans())
        text = draw(st.sampled_from(["漢", "字"])) if wide else draw(st.sampled_from("ab▁ "))
        segments.append(Segment(text, draw(st.sampled_from(STYLES))))
        room -= 2 if wide else 1
    return segments


pictures = st.lists(lines(), min_size=HEIGHT, max_size=HEIGHT)


@given(st.lists(pictures, min_size=2, max_size=5), st.sampled_from([True, False]))
def test_the_terminal_shows_what_was_drawn(several: list[list[list[Segment]]], coloured: bool) -> None:
    glass, terminal = Glass(coloured), Terminal()
    glass.resize(WIDTH, HEIGHT)
    for picture in several:
        terminal.feed(glass.write([(0, y, line) for y, line in enumerate(picture)], ColorSystem.TRUECOLOR))
        fresh, anew = Glass(coloured), Terminal()
        fresh.resize(WIDTH, HEIGHT)
        anew.feed(fresh.write([(0, y, line) for y, line in enumerate(picture)], ColorSystem.TRUECOLOR))
        assert terminal.cells == anew.cells
        assert ["".join(c for c, _ in row) for row in terminal.cells] == [
            "".join(segment.text for segment in line) for line in picture
        ]


@given(pictures)
def test_the_same_picture_costs_nothing(picture: list[list[Segment]]) -> None:
    glass = Glass()
    glass.resize(WIDTH, HEIGHT)
    pieces = [(0, y, line) for y, line in enumerate(picture)]
    assert glass.write(pieces, ColorSystem.TRUECOLOR)
    assert glass.write(pieces, ColorSystem.TRUECOLOR) == ""


def test_one_cell_costs_one_cell() -> None:
    glass = Glass()
    glass.resize(WIDTH, HEIGHT)
    glass.write([(0, 1, [Segment("a" * WIDTH, STYLES[1])])], ColorSystem.TRUECOLOR)
    line = [Segment("aaab" + "a" * 8, STYLES[1])]
    assert glass.write([(0, 1, line)], ColorSystem.TRUECOLOR) == (
        "\x1b[2;4H\x1b[0;38;2;99;197;189;48;2;14;18;24mb\x1b[0m"
    )


def test_exact_palette_colours_are_sent_by_number() -> None:
    glass = Glass()
    glass.resize(WIDTH, HEIGHT)
    assert "48;5;24m" in glass.write([(0, 0, [Segment("x", STYLES[2])])], ColorSystem.TRUECOLOR)


@pytest.mark.parametrize("style", STYLES)
def test_no_colour_sends_none(style: Style) -> None:
    glass = Glass(coloured=False)
    glass.resize(WIDTH, HEIGHT)
    written = glass.write([(0, 0, [Segment("x", style)])], ColorSystem.TRUECOLOR)
    assert not re.search(r"\b(3[0-8]|4[0-8]|9\d|10\d)\b", written.replace(";1H", ""))


def test_after_forgetting_everything_is_sent_again() -> None:
    glass = Glass()
    glass.resize(WIDTH, HEIGHT)
    pieces = [(0, 0, [Segment("x" * WIDTH, STYLES[0])])]
    first = glass.write(pieces, ColorSystem.TRUECOLOR)
    glass.forget()
    glass.resize(WIDTH, HEIGHT)
    assert glass.write(pieces, ColorSystem.TRUECOLOR) == first


def test_what_lies_outside_is_left_out() -> None:
    glass = Glass()
    glass.resize(WIDTH, HEIGHT)
    outside = [(10, 0, [Segment("abcdef", STYLES[0])]), (0, 9, [Segment("x", STYLES[0])])]
    assert glass.write(outside, ColorSystem.TRUECOLOR).count("H") == 1


def test_a_wide_character_that_was_half_overwritten_is_sent_whole() -> None:
    glass = Glass()
    glass.resize(WIDTH, HEIGHT)
    for x, text in ((0, "漢"), (1, "x")):
        glass.write([(x, 0, [Segment(text, STYLES[0])])], ColorSystem.TRUECOLOR)
    assert "\x1b[1;1H" in (again := glass.write([(0, 0, [Segment("漢", STYLES[0])])], ColorSystem.TRUECOLOR))
    assert "漢" in again
