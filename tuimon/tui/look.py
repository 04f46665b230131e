"""Colours and glyphs: one meaning each, everywhere.

Styles carry no meaning alone: whatever a colour says, a glyph, a word or a number says too.
"""

from __future__ import annotations

import locale
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Final

from rich.color import Color, blend_rgb
from rich.color_triplet import ColorTriplet
from rich.style import Style

from tuimon.records.alert import Severity

#: The heat map's scale from low to high: nearly even steps of lightness in one family of hues, so that it
#: reads the same for the colour-blind, and leaves red and orange to the alerts.
DARK_RAMP: Final = (
    "#15203a", "#1b2f5b", "#1f3f7a", "#225592", "#256e9e",
    "#2c87a6", "#3ba0a9", "#58b8a9", "#86cfae", "#c3e6c4",
)  # fmt: skip
LIGHT_RAMP: Final = (
    "#e4ecf0", "#cfe0e6", "#b4d3dc", "#93c4d0", "#6fb1c3",
    "#4c9bb5", "#3581a5", "#2a6792", "#244d7a", "#1d335c",
)  # fmt: skip
#: For terminals of 256 colours: exact entries of their palette, each apart from its neighbours.
DARK_RAMP_256: Final = (
    "#121212", "#00005f", "#000087", "#005f87", "#0087af",
    "#00afaf", "#00d7af", "#5fffaf", "#afffd7", "#ffffff",
)  # fmt: skip
LIGHT_RAMP_256: Final = (
    "#eeeeee", "#d7d7ff", "#afd7ff", "#87d7d7", "#87afd7",
    "#5f87d7", "#0087af", "#005faf", "#00005f", "#000000",
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """All styles of one theme. Compared by identity, since it is a key of caches."""

    name: str
    #: Whether only ASCII can be shown.
    ascii: bool
    #: Whether colours are drawn at all.
    coloured: bool
    background: str
    foreground: str
    #: Ordinary words; what matters most; labels; what is only there to be found.
    text: Style
    strong: Style
    dim: Style
    faint: Style
    #: Frames and the titles set into them; the letters to press.
    frame: Style
    title: Style
    key: Style
    #: The one accent: the newest values, the first curve. The second curve.
    accent: Style
    second: Style
    #: The spread of values around a curve.
    spread: Style
    #: States, and the severities of alerts.
    good: Style
    info: Style
    warn: Style
    bad: Style
    #: The row that the keys act on.
    selected: Style
    #: Styles of the heat map's levels, low to high.
    ramp: tuple[str, ...]

    def severity(self, severity: Severity) -> Style:
        """The style of an alert's glyph and word."""
        return {Severity.INFO: self.info, Severity.WARNING: self.warn, Severity.CRITICAL: self.bad}[severity]

    def on_selected(self, style: Style) -> Style:
        """The style as it is in the selected row."""
        return style + self.selected

    def faded(self) -> Look:
        """The same look half sunk into the background: a picture that is no longer true."""
        if not self.coloured:
            return self
        changes: dict[str, object] = {"name": f"{self.name}-faded"}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Style) and field.name not in ("bad", "key"):
                changes[field.name] = _sink(value, self.background)
        changes["ramp"] = tuple(_mix(colour, self.background) for colour in self.ramp)
        return replace(self, **changes)  # type: ignore[arg-type]


def _sink(style: Style, background: str) -> Style:
    if style.color is None:
        return style
    return style + Style(color=_mix(style.color.name, background))


def _mix(colour: str, background: str, share: float = 0.5) -> str:
    return blend_rgb(_rgb(colour), _rgb(background), share).hex


def _rgb(colour: str) -> ColorTriplet:
    return Color.parse(colour).get_truecolor()


def _look(name: str, ascii: bool, c: Mapping[str, str], ramp: tuple[str, ...]) -> Look:
    def style(colour: str, bold: bool = False) -> Style:
        return Style(color=c[colour], bgcolor=c["background"], bold=bold or None)

    return Look(
        name=name, ascii=ascii, coloured=True, background=c["background"], foreground=c["text"],
        text=style("text"), strong=style("strong", bold=True), dim=style("dim"), faint=style("faint"),
        frame=style("frame"), title=style("title", bold=True), key=style("accent", bold=True),
        accent=style("accent"), second=style("second"), spread=style("spread"),
        good=style("good"), info=style("info"), warn=style("warn", bold=True), bad=style("bad", bold=True),
        selected=Style(bgcolor=c["selected"]), ramp=ramp,
    )  # fmt: skip


_DARK = {
    "background": "#0e1218", "text": "#c5cdd9", "strong": "#eef2f7", "dim": "#7f8b9b", "faint": "#4d5867",
    "frame": "#313b49", "title": "#aab6c5", "accent": "#63c5bd", "second": "#b59ae0", "spread": "#2d5459",
    "good": "#7cc58a", "info": "#7fa8dc", "warn": "#e8b04c", "bad": "#f0716b", "selected": "#232d3b",
}  # fmt: skip
_LIGHT = {
    "background": "#fbfaf7", "text": "#2b333d", "strong": "#0c1116", "dim": "#66717e", "faint": "#9aa4ae",
    "frame": "#c3c9cf", "title": "#444f5b", "accent": "#0b7a75", "second": "#7147a8", "spread": "#b5d3d0",
    "good": "#2c7a3c", "info": "#2b62a5", "warn": "#955f00", "bad": "#c02626", "selected": "#e3ebee",
}  # fmt: skip


def dark(ascii: bool = False, ramp: tuple[str, ...] = DARK_RAMP) -> Look:
    """For dark terminals; the default."""
    return _look("dark", ascii, _DARK, ramp)


def light(ascii: bool = False, ramp: tuple[str, ...] = LIGHT_RAMP) -> Look:
    """For light terminals."""
    return _look("light", ascii, _LIGHT, ramp)


def mono(ascii: bool = False) -> Look:
    """No colour at all (https://no-color.org): weight, reverse and glyphs only."""
    plain, bold, dim = Style(), Style(bold=True), Style(dim=True)
    return Look(
        name="mono", ascii=ascii, coloured=False, background="#000000", foreground="#ffffff",
        text=plain, strong=bold, dim=plain, faint=dim, frame=dim, title=bold, key=Style(underline=True),
        accent=plain, second=dim, spread=dim, good=plain, info=plain, warn=bold, bad=bold,
        selected=Style(reverse=True), ramp=(),
    )  # fmt: skip


def choose(environment: Mapping[str, str], encoding: str | None = None) -> Look:
    """The look for a terminal, by its environment.

    ``TUIMON_ASCII=1`` or a locale that is not UTF-8: ASCII glyphs. ``NO_COLOR``: no colours.
    ``TUIMON_THEME`` is "dark" or "light"; without it ``COLORFGBG``, which some terminals set, decides.
    """
    encoding = encoding or locale.getpreferredencoding(False)
    narrow = encoding.lower().replace("-", "") != "utf8"
    ascii = narrow or environment.get("TUIMON_ASCII", "") not in ("", "0")
    if environment.get("NO_COLOR"):
        return mono(ascii)
    true_colour = environment.get("COLORTERM", "").lower() in ("truecolor", "24bit")
    if _is_light(environment):
        return light(ascii, LIGHT_RAMP if true_colour else LIGHT_RAMP_256)
    return dark(ascii, DARK_RAMP if true_colour else DARK_RAMP_256)


def _is_light(environment: Mapping[str, str]) -> bool:
    theme = environment.get("TUIMON_THEME", "").lower()
    if theme in ("dark", "light"):
        return theme == "light"
    # "foreground;background" by number of the basic palette: 7 and 9 to 15 are light.
    background = environment.get("COLORFGBG", "").rpartition(";")[2]
    return background.isdigit() and (int(background) == 7 or 9 <= int(background) <= 15)
