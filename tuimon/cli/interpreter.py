"""Command lines that run a Python which does not look at PYTHONPATH, or imports no sitecustomize."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

_PYTHON = re.compile(r"(python|pypy)[0-9.]*t?d?")
#: Options of the interpreter that take the word after them, where nothing is written right behind.
_WITH_VALUE = ("W", "X")
_LONG_WITH_VALUE = ("--check-hash-based-pycs",)
_DEAF = frozenset("EIS")


def relaunched(command: Sequence[str], launcher: str) -> list[str]:
    """The same command, by way of `launcher` if it runs Python with -E, -I or -S; else as it is.

    The launcher gets what to run ("script", "-m" or "-c"), its name and its arguments. A Python that reads
    its program from a terminal or a pipe stays as it is.
    """
    words = list(command)
    if not words or not _PYTHON.fullmatch(os.path.basename(words[0])):
        return words
    deaf = False
    at = 1
    while at < len(words):
        word = words[at]
        if word in _LONG_WITH_VALUE:
            at += 2
            continue
        if word.startswith("--"):
            return words  # --help and --version run nothing
        if word == "-" or not word.startswith("-"):
            break
        flags, what, rest = _split(word)
        deaf = deaf or not _DEAF.isdisjoint(flags)
        if what in ("c", "m"):
            name, after = (rest, at + 1) if rest else ("".join(words[at + 1 : at + 2]), at + 2)
            options = [f"-{flags}"] if flags else []
            return [*words[:at], *options, launcher, f"-{what}", name, *words[after:]] if deaf else words
        at += 2 if what is not None and not rest else 1
    if not deaf or at >= len(words) or words[at] == "-":
        return words
    return [*words[:at], launcher, "script", *words[at:]]


def _split(word: str) -> tuple[str, str | None, str]:
    """The flags in one word such as -Isc, the option with a value that ends them, and what is behind it."""
    for i, letter in enumerate(word[1:], start=1):
        if letter in ("c", "m", *_WITH_VALUE):
            return word[1:i], letter, word[i + 1 :]
    return word[1:], None, ""
