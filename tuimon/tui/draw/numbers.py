"""Numbers as people read them. Not measured (None) is drawn as `ABSENT`, never as zero."""

from __future__ import annotations

import math

ABSENT = "–"


def number(value: float | None, digits: int = 3) -> str:
    """A value with that many significant digits: "2.31", "0.0832", "1.2e-3", "NaN", "inf", "–"."""
    special = _special(value)
    if special is not None:
        return special
    assert value is not None
    if value == 0:
        return "0"
    size = abs(value)
    if 0.01 <= size < 10.0 ** max(4, digits):
        decimals = max(0, digits - 1 - math.floor(math.log10(size)))
        return f"{value:.{decimals}f}"
    return scientific(value, max(2, digits - 1))


def scientific(value: float | None, digits: int = 2) -> str:
    """Always with an exponent, without padding: "1.2e-3", "3e8"."""
    special = _special(value)
    if special is not None:
        return special
    assert value is not None
    if value == 0:
        return "0"
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def percent(ratio: float | None) -> str:
    """A share: "62 %", "0.6 %", "<0.1 %", "0 %"."""
    special = _special(ratio)
    if special is not None:
        return special
    assert ratio is not None
    if 0 < ratio < 0.0005:
        return "<0.1 %"
    if 0 < ratio < 0.0995:
        return f"{100 * ratio:.1f} %"
    if 0.99 < ratio < 1:
        # Rounded down: all but one is not all.
        return f"{math.floor(1000 * ratio) / 10:.1f} %"
    return f"{100 * ratio:.0f} %"


def count(n: int | None) -> str:
    """A count with a letter: "784", "38.6M", "1.2B"."""
    if n is None:
        return ABSENT
    if abs(n) < 10_000:
        return str(n)
    power = next((p for p in (1, 2, 3) if abs(n) < 999.5 * 1000**p), 4)
    value = n / 1000**power
    return f"{value:.{0 if abs(value) >= 99.95 else 1}f}{' kMBT'[power]}"


def whole(n: int | None) -> str:
    """A number of steps, in groups of three: "12 480"."""
    return ABSENT if n is None else f"{n:,}".replace(",", " ")


def size(n_bytes: int | float | None) -> str:
    """Bytes: "812 MB", "12.3 GB"."""
    if n_bytes is None:
        return ABSENT
    value = float(n_bytes)
    unit = "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 999.5 or unit == "TB":
            break
        value /= 1000.0
    return f"{value:.1f} {unit}" if value < 99.95 and unit in ("GB", "TB") else f"{value:.0f} {unit}"


def duration(seconds: float | None) -> str:
    """A time: "420 µs", "38 ms", "3.2 s", "12 min", "5 h 20"."""
    special = _special(seconds)
    if special is not None:
        return special
    assert seconds is not None
    if seconds < 0.9995e-3:
        return f"{1e6 * seconds:.0f} µs"
    if seconds < 0.9995:
        return f"{1e3 * seconds:.3g} ms"
    if seconds < 99.5:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    if seconds < 5970:
        return f"{seconds / 60:.0f} min"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d}"


def age(seconds: float) -> str:
    """How long ago, in whole units so that it changes rarely: "3 s", "2 min", "5 h 20"."""
    return f"{max(0, int(seconds))} s" if seconds < 100 else duration(seconds)


def pace(step_s: float | None) -> str:
    """Steps a second, or seconds a step when they are slow: "3.1 it/s", "12 s/it"."""
    if step_s is None or not math.isfinite(step_s) or step_s <= 0:
        return f"{ABSENT} it/s"
    if step_s > 1:
        return f"{number(step_s)} s/it"
    rate = 1.0 / step_s
    return f"{rate:.0f} it/s" if rate >= 99.5 else f"{number(rate, 2)} it/s"


def _special(value: float | None) -> str | None:
    if value is None:
        return ABSENT
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return None
