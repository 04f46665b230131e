"""The compiled functions that Python calls: few, with explicit types, cached on disk where possible."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numba
from numba.core import types

from tuimon_kernels.cpu_norms import add_squares, compare_all, gather_all
from tuimon_kernels.cpu_rows import add_all
from tuimon_kernels.cpu_table import clear_all, pack_all

if TYPE_CHECKING:
    from collections.abc import Callable

    Compile = Callable[[Any, Any], Any]

_i8, _u1, _u4, _f4, _f8 = (
    kind[::1] for kind in (types.int64, types.uint8, types.uint32, types.float32, types.float64)
)
_i8_2d, _f8_2d = types.int64[:, ::1], types.float64[:, ::1]
_int = types.int64

_ACCUMULATE = _int(_i8, _i8, _i8, _int, _i8_2d, _f8_2d, _i8_2d, _f8_2d, _i8, _i8, _u4, _int, _u1)
_CLEAR = _int(_i8_2d, _i8_2d, _f8_2d, _i8)
_PACK = _int(_i8, _i8_2d, _i8_2d, _i8, _i8)
_SUM_SQUARES = _int(_i8, _i8, _i8, _int, _f8)
_GATHER = _int(_i8, _i8, _i8, _i8, _i8, _f4, _f8)
_COMPARE = _int(_f4, _f4, _f8, _f8, _i8, _i8, _i8, _i8, _f8)


@dataclass(frozen=True, slots=True)
class Entries:
    """The compiled functions; arguments as in the functions they are named after."""

    compiled: bool
    """False when all came from the cache."""
    accumulate: Callable[..., int]
    clear: Callable[..., int]
    pack: Callable[..., int]
    sum_squares: Callable[..., int]
    gather: Callable[..., int]
    compare: Callable[..., int]


@functools.cache
def entries() -> Entries:
    """Load the entries from the cache, or compile them; once per process.

    A cache that cannot be had, written or read (no writable directory, a full disk, a damaged file) is done
    without: then every process compiles.
    """
    source = _digest()
    try:
        return _build(source, _cached)
    except Exception:  # numba raises RuntimeError, OSError, or whatever unpickling a damaged file may raise
        return _build(source, _uncached)


def _cached(signature: Any, function: Any) -> Any:
    return numba.njit(signature, nogil=True, cache=True)(function)


def _uncached(signature: Any, function: Any) -> Any:
    return numba.njit(signature, nogil=True)(function)


def _digest() -> int:
    """Return 63 bits that change with the source of any kernel.

    Numba's cache knows an entry by its own file's time and size only, and by what its closure holds: it would
    serve old loops after a change in another file (wheels give all files of all versions the same time).
    """
    folder = Path(__file__).parent
    text = b"".join(path.read_bytes() for path in sorted(folder.glob("*.py")))
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "little") >> 1


def _build(source: int, compile_: Compile) -> Entries:
    # Each function mentions `source` to hold it in its closure: see _digest.
    def accumulate(
        r: Any,
        a: Any,
        s: Any,
        o: Any,
        p: Any,
        li: Any,
        b: Any,
        m: Any,
        h: Any,
        la: Any,
        t: Any,
        bu: Any,
        ma: Any,
    ) -> Any:
        return add_all(r, a, s, o, p, li, b, m, h, la, t, bu, ma) if source >= 0 else -2

    def clear(plans: Any, books: Any, moments: Any, bins: Any) -> Any:
        return clear_all(plans, books, moments, bins) if source >= 0 else -2

    def pack(rows: Any, plans: Any, books: Any, bins: Any, packed: Any) -> Any:
        return pack_all(rows, plans, books, bins, packed) if source >= 0 else -2

    def sum_squares(addresses: Any, sizes: Any, dtypes: Any, buffer: Any, out: Any) -> Any:
        return add_squares(addresses, sizes, dtypes, buffer, out) if source >= 0 else -2

    def gather(a: Any, s: Any, d: Any, st: Any, at: Any, narrow: Any, wide: Any) -> Any:
        return gather_all(a, s, d, st, at, narrow, wide) if source >= 0 else -2

    def compare(o: Any, n: Any, wo: Any, wn: Any, s: Any, d: Any, st: Any, at: Any, out: Any) -> Any:
        return compare_all(o, n, wo, wn, s, d, st, at, out) if source >= 0 else -2

    functions = (accumulate, clear, pack, sum_squares, gather, compare)
    signatures = (_ACCUMULATE, _CLEAR, _PACK, _SUM_SQUARES, _GATHER, _COMPARE)
    built = [compile_(signature, function) for signature, function in zip(signatures, functions, strict=True)]
    return Entries(any(not entry.stats.cache_hits for entry in built), *built)
