"""Which channels are active, at almost no cost: a channel seen active needs no second look.

Shapes: `bits` are the n elements' signed integers (int16, int32 or int64), `last` int64 [channels] the
observation at which each channel was last active, `marks` uint8 [channels] scratch.

One pair of integer compares serves all types and both kinds of activity: ``w > floor and w != 0``. With the
floor at -inf's pattern it holds for the positive numbers and for NaN of either sign, since as signed integers
negative numbers lie below -inf and negative NaN above; with the floor at -0.0's pattern for all but zeros.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tuimon_kernels.cpu_jit import exact

i32 = np.int32
u8 = np.uint8

_ROWS_AT_ONCE = 8
_SPARSE = 16
# The first step is two cache lines of fp32, as most planes are active; the others are longer.
_FIRST_STEP = 32
_STEP = 512


@exact
def any_active(bits: Any, floor: Any) -> Any:
    """Whether one of these elements is active."""
    hit = i32(0)
    for i in range(bits.size):
        w = bits[i]
        hit = i32(hit | i32((w > floor) & (w != 0)))
    return hit != 0


@exact
def plane_active(bits: Any, floor: Any) -> bool:
    """Whether one of these elements is active; stops soon after the first that is."""
    if any_active(bits[:_FIRST_STEP], floor):
        return True
    for start in range(_FIRST_STEP, bits.size, _STEP):  # noqa: SIM110 - compiled: no generators
        if any_active(bits[start : start + _STEP], floor):
            return True
    return False


@exact
def search_channels(
    bits: Any, channels: int, inner: int, floor: Any, last: Any, marks: Any, observation: int
) -> None:
    """Mark the active channels of ``[outer, channels, inner]``."""
    # Planes of one element are searched as rows, unless there is nothing but one column.
    if inner == 1 and channels > 1:
        search_rows(bits, channels, floor, last, marks[:channels], observation)
    else:
        search_planes(bits, channels, inner, floor, last, observation)


@exact
def search_planes(bits: Any, channels: int, inner: int, floor: Any, last: Any, observation: int) -> None:
    """Mark the active channels of ``[outer, channels, inner]``."""
    silent = count_silent(last, observation)
    item = channels * inner
    for start in range(0, bits.size // item * item, item):
        if silent == 0:
            return
        for channel in range(channels):
            if last[channel] != observation:
                at = start + channel * inner
                if plane_active(bits[at : at + inner], floor):
                    last[channel] = observation
                    silent -= 1


@exact
def search_rows(bits: Any, channels: int, floor: Any, last: Any, marks: Any, observation: int) -> None:
    """Mark the active channels of ``[outer, channels]``.

    Whole rows as long as many channels are silent; once they are few, each of their columns by itself, up to
    its first active element.
    """
    rows = bits.size // channels
    silent = count_silent(last, observation)
    row = 0
    while row < rows and silent * _SPARSE > channels:
        stop = min(row + _ROWS_AT_ONCE, rows)
        marks[:] = u8(0)
        for at in range(row, stop):
            mark_row(bits[at * channels : (at + 1) * channels], floor, marks)
        for channel in range(channels):
            if marks[channel] != 0:
                last[channel] = observation
        silent = count_silent(last, observation)
        row = stop
    if silent == 0:
        return
    for channel in range(channels):
        if last[channel] != observation and column_active(bits[row * channels + channel :: channels], floor):
            last[channel] = observation


@exact
def column_active(column: Any, floor: Any) -> bool:
    """Whether one of these elements, a stride apart, is active."""
    for w in column:  # noqa: SIM110 - compiled: no generators
        if w > floor and w != 0:
            return True
    return False


@exact
def mark_row(row: Any, floor: Any, marks: Any) -> None:
    """Mark the active elements of a row."""
    for i in range(row.size):
        w = row[i]
        marks[i] = u8(marks[i] | u8((w > floor) & (w != 0)))


@exact
def count_silent(last: Any, observation: int) -> int:
    """Count the channels not yet seen active in this observation."""
    count = 0
    for channel in range(last.size):
        count += last[channel] != observation
    return count
