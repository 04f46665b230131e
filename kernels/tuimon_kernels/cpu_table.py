"""Emptying, packing and rating the rows of a table; columns and words as in `cpu_rows`."""

from __future__ import annotations

from typing import Any

import numpy as np

from tuimon_kernels.cpu_bins import HIGH, LOW
from tuimon_kernels.cpu_jit import carray, exact, merged, pointer
from tuimon_kernels.cpu_rows import (
    BOOK,
    EMPTY_HIGH,
    EMPTY_LOW,
    FIRST,
    LIMITS,
    PLAN,
    TIMES,
    WORDS,
    bins_of,
    column,
    stretch,
)
from tuimon_kernels.spec import DEAD, LIMIT, MOVED

u64 = np.uint64


@merged
def clear_all(described: int) -> int:
    """Empty all rows; of the bins only the span in use is touched."""
    table = carray(pointer(described), WORDS, np.int64)
    plans, books = column(table, 1, PLAN, np.int64), column(table, 3, BOOK, np.int64)
    moments, moved = column(table, 4, 4, np.float64), column(table, 5, 1, np.float64)
    for row in range(table[0]):
        book = books[row]
        if book[LOW] <= book[HIGH]:
            bins_of(table, plans[row])[2 * book[LOW] : 2 * book[HIGH] + 2] = 0
        book[:] = 0
        book[LOW] = EMPTY_LOW
        book[HIGH] = EMPTY_HIGH
        moments[row, 0] = 0.0
        moments[row, 1] = 0.0
        moments[row, 2] = np.inf
        moments[row, 3] = -np.inf
        moved[row, 0] = -np.inf
    return 0


@merged
def survey_all(described: int, rows: int) -> int:
    """End an observation: write the rows that were given tensors (int32, ascending), and return their number.

    Whether a row had any is remembered in its bits.
    """
    table = carray(pointer(described), WORDS, np.int64)
    books, fired = column(table, 3, BOOK, np.int64), column(table, 6, 2, np.uint64)
    out = carray(pointer(rows), table[0], np.int32)
    k = 0
    for row in range(table[0]):
        bits = fired[row]
        bits[1] = u64(bits[1] << u64(1)) | u64(bits[0] >> u64(63))
        bits[0] = u64(bits[0] << u64(1))
        if books[row, TIMES] > 0:
            bits[0] |= u64(1)
            out[k] = row
            k += 1
    return k


@merged
def measure_all(described: int, rows: int, k: int, found: int) -> int:
    """Write how many bins these rows (int32 [k]) have in use, both signs, and the most elements looked at.

    Returns the first place of a row that does not exist, else -1.
    """
    table = carray(pointer(described), WORDS, np.int64)
    books, which = column(table, 3, BOOK, np.int64), carray(pointer(rows), k, np.int32)
    out = carray(pointer(found), 2, np.int64)
    out[0], out[1] = 0, 0
    for item in range(k):
        if not 0 <= which[item] < table[0]:
            return item
        book = books[which[item]]
        out[0] += 2 * max(book[HIGH] - book[LOW] + 1, 0)
        out[1] = max(out[1], book[6])
    return -1


@merged
def pack_all(described: int, rows: int, k: int, columns: int) -> int:
    """Copy rows (int32 [k]) to the columns of a `Packed`.

    `columns` are 7 addresses: counts, moments, looked at, zeros among them, first exponent and width (int16),
    and bins as uint32, and an eighth of bins as int64, which are used instead unless 0.
    """
    table = carray(pointer(described), WORDS, np.int64)
    plans, books = column(table, 1, PLAN, np.int64), column(table, 3, BOOK, np.int64)
    moments, which = column(table, 4, 4, np.float64), carray(pointer(rows), k, np.int32)
    to = carray(pointer(columns), 8, np.int64)
    counts, values = carray(pointer(to[0]), (k, 6), np.int64), carray(pointer(to[1]), (k, 4), np.float64)
    looked, zeros = carray(pointer(to[2]), k, np.int64), carray(pointer(to[3]), k, np.int64)
    firsts, widths = carray(pointer(to[4]), k, np.int16), carray(pointer(to[5]), k, np.int16)
    narrow, wide = to[6], to[7]
    for item in range(k):
        row = which[item]
        book, plan = books[row], plans[row]
        counts[item, :] = book[:6]
        values[item, :] = moments[row]
        looked[item], zeros[item] = book[6], book[7]
        width = max(book[HIGH] - book[LOW] + 1, 0)
        widths[item] = np.int16(width)
        firsts[item] = np.int16(book[LOW] + FIRST[plan[0]] if width else 0)
        if width:
            mine = bins_of(table, plan)[2 * book[LOW] : 2 * book[HIGH] + 2]
            if wide:
                split(mine, width, carray(pointer(wide), 2 * width, np.int64))
                wide += 16 * width
            else:
                split(mine, width, carray(pointer(narrow), 2 * width, np.uint32))
                narrow += 8 * width
    return 0


@exact
def split(bins: Any, width: int, out: Any) -> None:
    """Write the negatives of [width, 2] bins, then the positives."""
    for i in range(width):
        out[i] = bins[2 * i]
        out[width + i] = bins[2 * i + 1]


@exact
def silent_channels(plans: Any, row: int, last: Any, since: int) -> int:
    """Count the channels of a row last active before `since`, and in its partner's too."""
    plan = plans[row]
    mine = last[plan[6] : plan[6] + plan[1]]
    silent = 0
    if plan[8] < 0:
        for channel in range(mine.size):
            silent += mine[channel] < since
    else:
        other = plans[plan[8]]
        theirs = last[other[6] : other[6] + other[1]]
        for channel in range(mine.size):
            silent += (mine[channel] < since) & (theirs[channel] < since)
    return silent


@exact
def ones(bits: Any) -> Any:
    """Count the bits set in a uint64."""
    bits = u64(bits - ((bits >> u64(1)) & u64(0x5555555555555555)))
    bits = u64((bits & u64(0x3333333333333333)) + ((bits >> u64(2)) & u64(0x3333333333333333)))
    bits = u64((bits + (bits >> u64(4))) & u64(0x0F0F0F0F0F0F0F0F))
    return np.int64(u64(bits * u64(0x0101010101010101)) >> u64(56))


@merged
def rate_all(
    described: int, rows: int, k: int, since: int, least: int, silent: int, ratios: int, measured: int
) -> int:
    """Write the ratios of these rows (int32 [k]): fp64 [k, 3], 0 where not measured, and bits that tell.

    Dead channels are judged where a row had elements in `least` observations. With `silent` not 0 only the
    counts of silent channels are written there, int64 [k].
    """
    table = carray(pointer(described), WORDS, np.int64)
    plans, books = column(table, 1, PLAN, np.int64), column(table, 3, BOOK, np.int64)
    limits, moved = column(table, 2, LIMITS, np.float64), column(table, 5, 1, np.float64)
    fired, last = column(table, 6, 2, np.uint64), stretch(table, 9, np.int64)
    which, counts = carray(pointer(rows), k, np.int32), carray(pointer(silent), k, np.int64)
    out, bits = carray(pointer(ratios), (k, 3), np.float64), carray(pointer(measured), k, np.uint8)
    for item in range(k):
        row = np.int64(which[item])
        if silent:
            counts[item] = silent_channels(plans, row, last, since)
            continue
        known = 0
        out[item, 0], out[item, 1], out[item, 2] = 0.0, 0.0, 0.0
        if moved[row, 0] != -np.inf:
            out[item, 0] = moved[row, 0]
            known += MOVED
        if plans[row, 1] and ones(fired[row, 0]) + ones(fired[row, 1]) >= least:
            out[item, 1] = silent_channels(plans, row, last, since) / plans[row, 1]
            known += DEAD
        if plans[row, 5] and books[row, 0]:
            out[item, 2] = books[row, 5] * limits[row, 2] / books[row, 0]
            known += LIMIT
        bits[item] = known
    return 0
