"""Durations and shares as people write them."""

from __future__ import annotations

import click
import pytest

from tuimon.cli.quantities import duration_s, share_ratio


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30.0), ("5m", 300.0), ("1.5h", 5400.0), ("2", 2.0), ("250ms", 0.25), (" 1 d ", 86400.0)],
)
def test_durations(text: str, seconds: float) -> None:
    assert duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "-1s", "0", "1y", "1e3s", "30 s x", "nan", "inf"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(click.BadParameter, match="30s"):
        duration_s(text)


@pytest.mark.parametrize(
    ("text", "ratio"), [("1%", 0.01), ("0.01", 0.01), ("100 %", 1.0), ("1", 1.0), ("1e-3", 1e-3)]
)
def test_shares(text: str, ratio: float) -> None:
    assert share_ratio(text) == ratio


@pytest.mark.parametrize("text", ["", "%", "0", "0%", "-1%", "101%", "1.5", "nan", "inf%", "some"])
def test_what_is_no_share(text: str) -> None:
    with pytest.raises(click.BadParameter, match="1%"):
        share_ratio(text)
