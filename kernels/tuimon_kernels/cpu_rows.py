"""From tensors to rows of the table: the loops over blocks and over a list of tensors.

A table is described by int64 [`WORDS`]: the number of slots, then the addresses of these arrays (int64 unless
said otherwise, one row per slot), with the lengths of those that are flat:

========  =======================================================================================
plan      dtype, channels, layout, inner, activity, has limits, first place in `last` and in `bins`, and
          the slot whose channels must be silent too, or -1
limits    fp64: lo, hi, rounded outwards to the type that compares (fp32, or fp64 for wide rows); and what
          their count is multiplied with to be a share of the elements
book      n, nan, +inf, -inf, zero, limit, looked at, zeros among them, first and last bin in use, tensors
moments   fp64: sum, sum of squares, min, max
moved     fp64 [slots]: the update ratio noted, -inf without
fired     uint64 [slots, 2]: in which of the last 128 observations the row had elements, newest in bit 0
bins      flat: per slot [bins, 2], from the first exponent of its type upwards
last      flat: per channel the observation at which it was last active
marks     uint8, flat: scratch for the channels of one slot
tables    uint32 scratch of `cpu_bins`; then `buffer`, BUFFER fp32 numbers of scratch
========  =======================================================================================
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tuimon_kernels.cpu_activity import search_channels
from tuimon_kernels.cpu_bins import SCRATCH, flush, look, look_wide
from tuimon_kernels.cpu_block import add_block, add_wide_block, at_limits, widen
from tuimon_kernels.cpu_jit import carray, exact, merged, pointer
from tuimon_kernels.spec import BLOCK, LOOKED, PIECE, SAMPLE, STRETCH, Activity, DType

PLAN, LIMITS, BOOK, BUFFER = 9, 3, 11, BLOCK
TIMES = 10  # column of the book: tensors added
WORDS = 15
EMPTY_LOW, EMPTY_HIGH = 1 << 30, -1

_FLOAT64, _FLOAT32 = int(DType.FLOAT64), int(DType.FLOAT32)
_POSITIVE = int(Activity.POSITIVE)
# The bits of -inf and of -0.0 as signed integers: see `cpu_activity`.
_FLOORS = (
    (-(1 << 52), -(1 << 63)),
    (-(1 << 23), -(1 << 31)),
    (-(1 << 10), -(1 << 15)),
    (-(1 << 7), -(1 << 15)),
)
BINS = tuple(2 * (dtype.exponents[1] - dtype.exponents[0] + 1) for dtype in DType)
"""Bins of a row by dtype, both signs."""
FIRST = tuple(dtype.exponents[0] for dtype in DType)
"""Exponent of the first bin by dtype."""


@merged
def column(table: Any, word: int, width: int, kind: Any) -> Any:
    """Return one of the table's arrays that have a row per slot."""
    return carray(pointer(table[word]), (table[0], width), kind)


@merged
def stretch(table: Any, word: int, kind: Any) -> Any:
    """Return one of the table's flat arrays."""
    return carray(pointer(table[word]), table[word + 1], kind)


@merged
def bins_of(table: Any, plan: Any) -> Any:
    """Return the bins of one row, flat."""
    return carray(pointer(table[7] + 8 * plan[7]), BINS[plan[0]], np.int64)


@exact
def turn(piece: int, n: int, shift: int) -> int:
    """Return the first piece from this one on that enters the histogram: see `tuimon_kernels.spec.sampled`.

    `shift` is slot + observation.
    """
    return piece + (-(piece + shift)) % max(1, min(SAMPLE, n // LOOKED))


@exact
def add_narrow(
    address: int,
    n: int,
    buffer: int,
    shift: int,
    plan: Any,
    limits: Any,
    book: Any,
    moments: Any,
    row: Any,
    tables: Any,
) -> None:
    """Add an fp32 tensor to its row, or an fp16 or bf16 one, widened block by block."""
    low, high = 255, 0
    step = STRETCH if plan[0] == _FLOAT32 else BLOCK
    for start in range(0, n, step):
        m = min(step, n - start)
        at = address + 4 * start
        if plan[0] != _FLOAT32:
            at = buffer
            widen(
                carray(pointer(address + 2 * start), m, np.int16), plan[0], carray(pointer(at), m, np.int32)
            )
        values = carray(pointer(at), m, np.float32)
        add_block(carray(pointer(at), m, np.int32), values, book, moments)
        if plan[5]:
            book[5] += at_limits(values, np.float32(limits[0]), np.float32(limits[1]))
        last = max(n // PIECE - 1, 0)
        piece = turn(min(start // PIECE, last), n, shift)
        while piece <= last:
            # What is left behind the last full piece goes with it.
            begin, end = max(piece * PIECE - start, 0), (n if piece == last else (piece + 1) * PIECE) - start
            if begin >= m:
                break
            bits = carray(pointer(at + 4 * begin), min(end, m) - begin, np.uint32)
            first, latest = look(bits, tables, row, book)
            low, high = min(low, first), max(high, latest)
            piece = turn(piece + 1, n, shift)
    flush(tables, 4, 256, low, high, row, book)


@exact
def add_wide(
    address: int, n: int, shift: int, plan: Any, limits: Any, book: Any, moments: Any, row: Any, tables: Any
) -> None:
    """Add an fp64 tensor to its row."""
    low, high = 2047, 0
    for start in range(0, n, BLOCK):
        m = min(BLOCK, n - start)
        at = address + 8 * start
        values = carray(pointer(at), m, np.float64)
        add_wide_block(carray(pointer(at), m, np.int64), values, book, moments)
        if plan[5]:
            book[5] += at_limits(values, limits[0], limits[1])
        last = max(n // PIECE - 1, 0)
        piece = turn(min(start // PIECE, last), n, shift)
        while piece <= last:
            begin, end = max(piece * PIECE - start, 0), (n if piece == last else (piece + 1) * PIECE) - start
            if begin >= m:
                break
            bits = carray(pointer(at + 8 * begin), min(end, m) - begin, np.uint64)
            first, latest = look_wide(bits, tables, row, book)
            low, high = min(low, first), max(high, latest)
            piece = turn(piece + 1, n, shift)
    flush(tables, 1, 2048, low, high, row, book)


@exact
def search(address: int, n: int, plan: Any, last: Any, marks: Any, observation: int) -> None:
    """Mark the channels of a tensor that are active."""
    channels, inner = plan[1], plan[3]
    last = last[plan[6] : plan[6] + channels]
    floor = _FLOORS[plan[0]][0 if plan[4] == _POSITIVE else 1]
    memory = pointer(address)
    if plan[0] == _FLOAT64:
        search_channels(
            carray(memory, n, np.int64), channels, inner, np.int64(floor), last, marks, observation
        )
    elif plan[0] == _FLOAT32:
        search_channels(
            carray(memory, n, np.int32), channels, inner, np.int32(floor), last, marks, observation
        )
    else:
        search_channels(
            carray(memory, n, np.int16), channels, inner, np.int16(floor), last, marks, observation
        )


@exact
def unfit(plans: Any, rows: Any, kinds: Any) -> Any:
    """Return the first item whose row does not exist, or k + the first not of its row's type, else -1."""
    for item in range(rows.size):
        if not 0 <= rows[item] < plans.shape[0]:
            return item
    for item in range(rows.size):
        if kinds[item] != plans[rows[item], 0]:
            return rows.size + item
    return -1


@merged
def add_all(
    described: int, rows: int, addresses: int, sizes: int, kinds: int, k: int, observation: int
) -> int:
    """Add k tensors to their rows; return -1, or what `unfit` returns, with nothing changed."""
    table = carray(pointer(described), WORDS, np.int64)
    plans, books = column(table, 1, PLAN, np.int64), column(table, 3, BOOK, np.int64)
    limits, moments = column(table, 2, LIMITS, np.float64), column(table, 4, 4, np.float64)
    last, marks = stretch(table, 9, np.int64), stretch(table, 11, np.uint8)
    tables, buffer = carray(pointer(table[13]), SCRATCH, np.uint32), table[14]
    which, at = carray(pointer(rows), k, np.int64), carray(pointer(addresses), k, np.int64)
    lengths, of = carray(pointer(sizes), k, np.int64), carray(pointer(kinds), k, np.int64)
    wrong: int = unfit(plans, which, of)
    for item in range(k if wrong < 0 else 0):
        row, n, address = which[item], lengths[item], at[item]
        plan, book, shift = plans[row], books[row], row + observation
        book[TIMES] += 1
        if n == 0 or address == 0:
            continue
        mine = bins_of(table, plan)
        book[0] += n
        if plan[0] == _FLOAT64:
            add_wide(address, n, shift, plan, limits[row], book, moments[row], mine, tables)
        else:
            add_narrow(address, n, buffer, shift, plan, limits[row], book, moments[row], mine, tables)
        if plan[1]:
            search(address, n, plan, last, marks, observation)
    return wrong
