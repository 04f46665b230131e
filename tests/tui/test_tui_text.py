"""Lines are exactly as wide as they are said to be, whatever is in them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.style import Style

from tuimon.tui.draw.frame import framed
from tuimon.tui.draw.text import beside, cells, fit, ink, shorten, shorten_name, wrap
from tuimon.tui.glyphs import to_ascii
from tuimon.tui.look import dark

PLAIN = Style()
LOOK = dark()
#: Narrow, wide and combining characters, and control characters.
ANYTHING = st.text(st.sampled_from("ab.é漢字\u0301\x1b\n▁"), max_size=30)


@given(st.lists(ANYTHING, max_size=4), st.integers(0, 40))
def test_fit_is_exact(parts: list[str], width: int) -> None:
    assert cells(fit([ink(part, PLAIN) for part in parts], width, PLAIN)) == width


@given(ANYTHING, ANYTHING, st.integers(1, 40))
def test_beside_is_exact(left: str, right: str, width: int) -> None:
    assert cells(beside([ink(left, PLAIN)], [ink(right, PLAIN)], width, PLAIN)) == width


@given(ANYTHING, st.integers(0, 12))
def test_shortened_texts_fit(text: str, width: int) -> None:
    plain = ink(text, PLAIN).text
    assert cells([ink(shorten(plain, width), PLAIN)]) <= width
    assert cells([ink(shorten_name(plain, width), PLAIN)]) <= width


def test_a_name_keeps_its_end_and_a_sentence_its_beginning() -> None:
    assert shorten_name("encoder.layers.7.mlp.act", 10) == "…7.mlp.act"
    assert shorten("nothing wrong found", 10) == "nothing w…"


def test_names_from_outside_cannot_move_the_cursor() -> None:
    assert ink("evil\x1b[2Jname\n", PLAIN).text == "evil?[2Jname?"


def test_wrapping_says_when_there_was_more() -> None:
    assert wrap("one two three four", 9, 2) == ["one two", "three…"]
    assert wrap("one two", 9, 2) == ["one two"]
    assert wrap("one", 9, 0) == []


@pytest.mark.parametrize("size", [(1, 1), (4, 3), (5, 3), (20, 6), (80, 24)])
@pytest.mark.parametrize("words", ["", "title", "a title that is far too long for most frames of this size"])
def test_a_frame_has_exactly_the_size_asked_for(size: tuple[int, int], words: str) -> None:
    width, height = size
    text = [ink(words, PLAIN)]
    lines = framed([text] * 40, width, height, LOOK, title=text, value=text, foot=text, foot_value=text)
    assert len(lines) == height
    assert {cells(line) for line in lines} == {width}


def test_the_value_in_a_frame_survives_where_the_title_does_not() -> None:
    line = framed([], 20, 3, LOOK, title=[ink("gradient norm", PLAIN)], value=[ink("1.2e-3", PLAIN)])[0]
    shown = "".join(segment.text for segment in line)
    assert "1.2e-3" in shown
    assert "gradient norm" not in shown


@given(st.text(st.sampled_from("─│╭╮╯╰●◌■○•▲✖✓▸┊×·▼↑↓▁█–…µ→abc漢"), max_size=20))
def test_ascii_has_the_same_length(text: str) -> None:
    assert to_ascii(text).isascii()
    assert len(to_ascii(text)) == len(text)
