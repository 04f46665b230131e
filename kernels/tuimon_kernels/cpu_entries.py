"""The compiled functions that Python calls: few, with explicit types, cached on disk where possible."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numba
import numpy as np
from numba.core import types

from tuimon_kernels.cpu_describe import describe_all
from tuimon_kernels.cpu_jit import carray, pointer
from tuimon_kernels.cpu_norms import add_squares, compare_all, gather_all
from tuimon_kernels.cpu_rows import add_all
from tuimon_kernels.cpu_table import clear_all, measure_all, pack_all, rate_all, survey_all

if TYPE_CHECKING:
    from collections.abc import Callable

    Compile = Callable[[Any, Any, bool], Any]

_int = types.int64


@dataclass(frozen=True, slots=True)
class Entries:
    """The compiled functions. All arguments are whole numbers, most of them addresses.

    An array costs 0.3 us to hand over (its type is looked up, its buffer wrapped), a number 0.03 us. Whoever
    calls keeps what the addresses belong to alive. `table` and `sampler` are the addresses of descriptors:
    see `cpu_rows` and `cpu_norms`. All but `describe`, which asks Python objects, release the GIL.
    """

    compiled: bool
    """False when all came from the cache."""
    describe: Callable[[int, int, int, int, int, int, int, int], int]
    """(exchange, forget, tensors, k, addresses, sizes, kinds, raw): see `cpu_describe`."""
    accumulate: Callable[[int, int, int, int, int, int, int], int]
    """(table, rows, addresses, sizes, kinds, k, observation): see `cpu_rows.add_all`."""
    clear: Callable[[int], int]
    """(table)"""
    survey: Callable[[int, int], int]
    """(table, rows): see `cpu_table.survey_all`."""
    measure: Callable[[int, int, int, int], int]
    """(table, rows, k, found): see `cpu_table.measure_all`."""
    pack: Callable[[int, int, int, int], int]
    """(table, rows, k, columns): see `cpu_table.pack_all`."""
    rate: Callable[[int, int, int, int, int, int, int, int], int]
    """(table, rows, k, since, least, silent, ratios, measured): see `cpu_table.rate_all`."""
    sum_squares: Callable[[int, int, int, int, int, int], int]
    """(addresses, sizes, kinds, k, buffer, out): see `cpu_norms.add_squares`."""
    gather: Callable[[int, int, int, int, int], int]
    """(sampler, addresses, sizes, kinds, place): see `cpu_norms.gather_all`."""
    compare: Callable[[int, int], int]
    """(sampler, out): see `cpu_norms.compare_all`."""


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


def _cached(signature: Any, function: Any, nogil: bool) -> Any:
    return numba.njit(signature, nogil=nogil, cache=True)(function)


def _uncached(signature: Any, function: Any, nogil: bool) -> Any:
    return numba.njit(signature, nogil=nogil)(function)


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
    def describe(exchange: Any, forget: Any, tensors: Any, k: Any, a: Any, s: Any, of: Any, raw: Any) -> Any:
        i8 = np.int64
        columns = carray(pointer(a), k, i8), carray(pointer(s), k, i8), carray(pointer(of), k, i8)
        if source < 0:
            return -2
        return describe_all(exchange, forget, tensors, columns[0], columns[1], columns[2], raw)

    def accumulate(table: Any, rows: Any, a: Any, s: Any, kinds: Any, k: Any, observation: Any) -> Any:
        return add_all(table, rows, a, s, kinds, k, observation) if source >= 0 else -2

    def clear(table: Any) -> Any:
        return clear_all(table) if source >= 0 else -2

    def survey(table: Any, rows: Any) -> Any:
        return survey_all(table, rows) if source >= 0 else -2

    def measure(table: Any, rows: Any, k: Any, found: Any) -> Any:
        return measure_all(table, rows, k, found) if source >= 0 else -2

    def pack(table: Any, rows: Any, k: Any, columns: Any) -> Any:
        return pack_all(table, rows, k, columns) if source >= 0 else -2

    def rate(table: Any, rows: Any, k: Any, since: Any, least: Any, silent: Any, out: Any, bits: Any) -> Any:
        return rate_all(table, rows, k, since, least, silent, out, bits) if source >= 0 else -2

    def sum_squares(a: Any, s: Any, kinds: Any, k: Any, buffer: Any, out: Any) -> Any:
        return add_squares(a, s, kinds, k, buffer, out) if source >= 0 else -2

    def gather(sampler: Any, a: Any, s: Any, kinds: Any, place: Any) -> Any:
        return gather_all(sampler, a, s, kinds, place) if source >= 0 else -2

    def compare(sampler: Any, out: Any) -> Any:
        return compare_all(sampler, out) if source >= 0 else -2

    functions = (describe, accumulate, clear, survey, measure, pack, rate, sum_squares, gather, compare)
    built = [
        compile_(_int(*[_int] * function.__code__.co_argcount), function, function is not describe)
        for function in functions
    ]
    return Entries(any(not entry.stats.cache_hits for entry in built), *built)
