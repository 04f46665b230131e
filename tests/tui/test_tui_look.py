"""Looks: chosen by the environment, told apart in any palette, and faded when the picture is old."""

from __future__ import annotations

import pytest
from rich.color import Color

from tuimon.tui.lean import palette_index
from tuimon.tui.look import (
    DARK_RAMP,
    DARK_RAMP_256,
    LIGHT_RAMP,
    LIGHT_RAMP_256,
    choose,
    dark,
    light,
    mono,
)


@pytest.mark.parametrize(
    ("environment", "encoding", "name", "ascii"),
    [
        ({}, "UTF-8", "dark", False),
        ({"TUIMON_ASCII": "1"}, "utf8", "dark", True),
        ({"TUIMON_ASCII": "0"}, "UTF-8", "dark", False),
        ({}, "ANSI_X3.4-1968", "dark", True),
        ({"NO_COLOR": "1"}, "UTF-8", "mono", False),
        ({"NO_COLOR": ""}, "UTF-8", "dark", False),
        ({"TUIMON_THEME": "light"}, "UTF-8", "light", False),
        ({"COLORFGBG": "0;15"}, "UTF-8", "light", False),
        ({"COLORFGBG": "15;0"}, "UTF-8", "dark", False),
        ({"COLORFGBG": "0;15", "TUIMON_THEME": "dark"}, "UTF-8", "dark", False),
        ({"COLORFGBG": "default;default"}, "UTF-8", "dark", False),
    ],
)
def test_choice(environment: dict[str, str], encoding: str, name: str, ascii: bool) -> None:
    look = choose(environment, encoding)
    assert (look.name, look.ascii) == (name, ascii)


def _luminance(colour: str) -> float:
    """Relative luminance of sRGB (WCAG 2, section 1.4.3)."""
    parts = [c / 255 for c in Color.parse(colour).get_truecolor()]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("ramp", [DARK_RAMP, LIGHT_RAMP, DARK_RAMP_256, LIGHT_RAMP_256])
def test_levels_grow_steadily_in_lightness_so_that_hue_is_not_needed(ramp: tuple[str, ...]) -> None:
    lightness = [_luminance(colour) for colour in ramp]
    assert lightness in (sorted(set(lightness)), sorted(set(lightness), reverse=True))


@pytest.mark.parametrize("ramp", [DARK_RAMP_256, LIGHT_RAMP_256])
def test_levels_are_entries_of_the_palette_of_256(ramp: tuple[str, ...]) -> None:
    entries = [palette_index(*Color.parse(colour).get_truecolor()) for colour in ramp]
    assert None not in entries
    assert len(set(entries)) == len(ramp)


@pytest.mark.parametrize("look", [dark(), light()])
def test_words_can_be_read(look: object) -> None:
    # 4.5 is what WCAG asks of text; 2 of what is only there to be found.
    background = _luminance(look.background)  # type: ignore[attr-defined]
    wanted = {"text": 7.0, "dim": 4.5, "faint": 2.0, "bad": 4.5, "warn": 4.5, "accent": 4.5}
    for name, least in wanted.items():
        colour = _luminance(getattr(look, name).color.name)
        ratio = (max(colour, background) + 0.05) / (min(colour, background) + 0.05)
        assert ratio >= least, name


def test_a_faded_look_keeps_its_alarms() -> None:
    look = dark()
    assert look.faded().bad == look.bad
    assert look.faded().text != look.text
    assert look.faded().ramp != look.ramp
    plain = mono()
    assert plain.faded() is plain


def test_no_colour_means_none() -> None:
    look = mono()
    for name in ("text", "strong", "dim", "bad", "accent", "selected", "frame"):
        style = getattr(look, name)
        assert style.color is None
        assert style.bgcolor is None
