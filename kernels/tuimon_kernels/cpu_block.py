"""What is done with one block of at most 4096 elements, in the first-level cache.

Shapes: n <= BLOCK elements. `bits` are their signed integers (int32 or int64), `values` the same memory as
fp32 or fp64. Loops run over whole slices: an index with an offset makes Numba check for negative ones, six
times slower. Integer arithmetic is cast back after every operation: Numba widens int32 to int64, which halves
the lanes. Comparisons of NaN are false, and integers order it beyond the infinities.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tuimon_kernels.cpu_jit import bits_of_float, double_of_bits, exact, float_of_bits, lanes
from tuimon_kernels.spec import DType

i32 = np.int32
f32 = np.float32

_FLOAT16 = int(DType.FLOAT16)

_MAGNITUDE = i32(0x7FFFFFFF)
_MAGNITUDE_WIDE = np.int64(0x7FFFFFFFFFFFFFFF)

# The key of a float is its bits with the magnitude of negatives flipped: it orders as the numbers do.
_KEY_INF = 0x7F800000
_KEY_MINUS_INF = -0x7F800001
_KEY_INF_WIDE = 0x7FF0000000000000
_KEY_MINUS_INF_WIDE = -0x7FF0000000000001

# Where the largest magnitude lies in [2^-55, 2^57), 4096 squares neither overflow fp32 (2^114 * 2^12 < 2^127)
# nor lose more by underflow than by rounding (4096 * 2^-150 against at least 2^-110).
_LARGE = 2.0**57
_SMALL = 2.0**-55


@lanes
def sums(values: Any) -> Any:
    """Return (sum, sum of squares), accumulated in the type of the values."""
    s = values.dtype.type(0)
    q = values.dtype.type(0)
    for i in range(values.size):
        v = values[i]
        s += v
        q += v * v
    return np.float64(s), np.float64(q)


@lanes
def wide_sums(values: Any) -> Any:
    """Return (sum, sum of squares), accumulated in fp64."""
    s = 0.0
    q = 0.0
    for i in range(values.size):
        v = np.float64(values[i])
        s += v
        q += v * v
    return s, q


@exact
def extremes(bits: Any) -> Any:
    """Return (zeros, smallest key, largest key) of fp32 bits."""
    zero = i32(0)
    low = i32(0x7FFFFFFF)
    high = i32(-0x80000000)
    for i in range(bits.size):
        w = bits[i]
        zero = i32(zero + i32(i32(w & _MAGNITUDE) == i32(0)))
        key = i32(w ^ i32(i32(w >> i32(31)) & _MAGNITUDE))
        low = min(low, key)
        high = max(high, key)
    return zero, low, high


@exact
def wide_extremes(bits: Any) -> Any:
    """Return (zeros, smallest key, largest key) of fp64 bits."""
    zero = np.int64(0)
    low = np.int64(0x7FFFFFFFFFFFFFFF)
    high = np.int64(-0x8000000000000000)
    for i in range(bits.size):
        w = bits[i]
        zero += np.int64((w & _MAGNITUDE_WIDE) == 0)
        key = w ^ ((w >> np.int64(63)) & _MAGNITUDE_WIDE)
        low = min(low, key)
        high = max(high, key)
    return zero, low, high


@lanes
def careful(values: Any) -> Any:
    """Return (nan, +inf, -inf, sum, sum of squares, min, max), the last four over finite elements."""
    nan = 0
    above = 0
    below = 0
    s = 0.0
    q = 0.0
    low = np.inf
    high = -np.inf
    for i in range(values.size):
        v = np.float64(values[i])
        if v != v:
            nan += 1
        elif v == np.inf:
            above += 1
        elif v == -np.inf:
            below += 1
        else:
            s += v
            q += v * v
            low = min(low, v)
            high = max(high, v)
    return nan, above, below, s, q, low, high


@exact
def at_limits(values: Any, low: Any, high: Any) -> Any:
    """Count the elements <= low or >= high; the limits are of the values' type."""
    count = i32(0)
    for i in range(values.size):
        v = values[i]
        count = i32(count + i32((v <= low) | (v >= high)))
    return count


@exact
def add_block(bits: Any, values: Any, book: Any, moments: Any) -> Any:
    """Add a block of fp32 numbers to its row's counts and moments; return its zeros."""
    zero, low, high = extremes(bits)
    book[4] += zero
    if low > _KEY_MINUS_INF and high < _KEY_INF:
        first = np.float64(float_of_bits(i32(low ^ i32(i32(low >> i32(31)) & _MAGNITUDE))))
        last = np.float64(float_of_bits(i32(high ^ i32(i32(high >> i32(31)) & _MAGNITUDE))))
        largest = max(-first, last)
        s, q = sums(values) if _SMALL <= largest < _LARGE else wide_sums(values)
    else:
        nan, above, below, s, q, first, last = careful(values)
        book[1] += nan
        book[2] += above
        book[3] += below
    add_moments(moments, s, q, first, last)
    return zero


@exact
def add_wide_block(bits: Any, values: Any, book: Any, moments: Any) -> Any:
    """Add a block of fp64 numbers to its row's counts and moments; return its zeros."""
    zero, low, high = wide_extremes(bits)
    book[4] += zero
    if low > _KEY_MINUS_INF_WIDE and high < _KEY_INF_WIDE:
        first = double_of_bits(low ^ ((low >> np.int64(63)) & _MAGNITUDE_WIDE))
        last = double_of_bits(high ^ ((high >> np.int64(63)) & _MAGNITUDE_WIDE))
        s, q = sums(values)
    else:
        nan, above, below, s, q, first, last = careful(values)
        book[1] += nan
        book[2] += above
        book[3] += below
    add_moments(moments, s, q, first, last)
    return zero


@exact
def add_moments(moments: Any, s: Any, q: Any, low: Any, high: Any) -> None:
    """Add a block's sums and extremes to its row."""
    moments[0] += s
    moments[1] += q
    moments[2] = min(moments[2], low)
    moments[3] = max(moments[3], high)


@exact
def widen(raw: Any, dtype: int, bits: Any) -> None:
    """Write fp16 or bf16 numbers (int16 bits) as fp32 bits; exact for every pattern."""
    if dtype == _FLOAT16:
        widen_half(raw, bits)
    else:
        widen_bfloat(raw, bits)


@exact
def widen_bfloat(raw: Any, bits: Any) -> None:
    """Write bf16 numbers (int16 bits) as fp32 bits."""
    for i in range(raw.size):
        bits[i] = i32(i32(raw[i]) << i32(16))


@exact
def widen_half(raw: Any, bits: Any) -> None:
    """Write fp16 numbers (int16 bits) as fp32 bits."""
    for i in range(raw.size):
        bits[i] = half_bits(i32(raw[i]))


@exact
def half_bits(h: Any) -> Any:
    """Return the fp32 bits of an fp16 number; `h` are its int16 bits as an int32.

    Subnormals are converted as integers, so that a process that flushes fp32 subnormals keeps them.
    """
    m = i32(h & i32(0x7FFF))
    normal = i32(i32(m << i32(13)) + i32(112 << 23))
    # Exponent 31 stands for infinity and NaN: it moves up to 255.
    normal = i32(normal + i32(112 << 23)) if m >= i32(0x7C00) else normal
    subnormal = bits_of_float(f32(m) * f32(2.0**-24))
    w = normal if m >= i32(0x400) else subnormal
    return i32(w | i32(h & i32(-0x80000000)))
