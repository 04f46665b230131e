"""Numbers: absence is never zero, NaN stays NaN, and nothing outgrows its column."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuimon.tui.draw import numbers
from tuimon.tui.model.metric import METRICS


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "–"), (math.nan, "NaN"), (math.inf, "inf"), (-math.inf, "-inf"), (0.0, "0"), (-0.0, "0"),
        (2.3144, "2.31"), (0.0832, "0.0832"), (0.00123, "1.2e-3"), (123456.0, "1.2e5"), (-0.5, "-0.500"),
        (5e-324, "4.9e-324"),
    ],
)  # fmt: skip
def test_number(value: float | None, shown: str) -> None:
    assert numbers.number(value) == shown


@pytest.mark.parametrize(
    ("ratio", "shown"),
    [(None, "–"), (0.0, "0 %"), (0.0001, "<0.1 %"), (0.006, "0.6 %"), (0.62, "62 %"), (1.0, "100 %"),
     (0.9999, "99.9 %"),
     (math.nan, "NaN")],
)  # fmt: skip
def test_percent(ratio: float | None, shown: str) -> None:
    assert numbers.percent(ratio) == shown


@pytest.mark.parametrize(
    ("n", "shown"),
    [(None, "–"), (784, "784"), (9999, "9999"), (38_600_000, "38.6M"), (999_600, "1.0M"), (7 * 10**9, "7.0B"),
     (123_456, "123k"), (10**15, "1000T")],
)  # fmt: skip
def test_count(n: int | None, shown: str) -> None:
    assert numbers.count(n) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(None, "–"), (42e-6, "42 µs"), (0.038, "38 ms"), (0.9999, "1.0 s"), (3.21, "3.2 s"), (59.0, "59 s"),
     (720.0, "12 min"), (19_200.0, "5 h 20")],
)  # fmt: skip
def test_duration(seconds: float | None, shown: str) -> None:
    assert numbers.duration(seconds) == shown


@pytest.mark.parametrize(
    ("step_s", "shown"),
    [(None, "– it/s"), (0.0, "– it/s"), (math.nan, "– it/s"), (0.32, "3.1 it/s"), (0.001, "1000 it/s"),
     (12.0, "12.0 s/it")],
)  # fmt: skip
def test_pace(step_s: float | None, shown: str) -> None:
    assert numbers.pace(step_s) == shown


@pytest.mark.parametrize(
    ("n", "shown"), [(None, "–"), (0, "0 B"), (812_300_000, "812 MB"), (12_340_000_000, "12.3 GB")]
)
def test_size(n: int | None, shown: str) -> None:
    assert numbers.size(n) == shown


def test_steps_stand_in_groups_of_three() -> None:
    assert numbers.whole(12480) == "12 480"


@given(st.floats(), st.integers(1, 5))
def test_a_number_reads_back_as_what_it_was(value: float, digits: int) -> None:
    text = numbers.number(value, digits)
    read = float(text)
    if math.isnan(value):
        assert math.isnan(read)
    elif math.isinf(value) or value == 0:
        assert read == value
    elif 1e-300 < abs(value) < 1e308:
        # Half a unit of the last digit; an exponent takes the place of one, though never of the second.
        kept = max(2, digits - 1) if "e" in text else digits
        assert read == pytest.approx(value, rel=0.5001 * 10.0 ** (1 - kept))


@given(st.floats(min_value=0.0) | st.none())
def test_the_newest_values_fit_their_columns(value: float | None) -> None:
    for metric in METRICS:
        share = None if value is None or math.isnan(value) else min(value, 1.0)
        assert len(metric.text(value if metric.log else share)) <= (8 if metric.log else 6)
