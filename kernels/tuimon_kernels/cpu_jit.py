"""How the CPU kernels are compiled, and the few machine words that Numba has no name for.

Three kinds of function, none called from Python but through the entries of `cpu_entries`: `lanes` may reorder
floating-point sums (so that they run in vector lanes) and nothing else; `exact` keeps every operation as
written; `merged` is the same, put into its caller before anything is compiled (each level of calls is
optimised once more). No blanket fastmath: it assumes that there is no NaN.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

import numba
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

if TYPE_CHECKING:
    from collections.abc import Callable

F = TypeVar("F", bound="Callable[..., Any]")

_REORDER = {"reassoc", "nsz", "contract"}

carray: Any = numba.carray  # type: ignore[attr-defined]  # exported, though not in its list of names
"""An array over raw memory: ``carray(pointer(address), n, dtype)``; owns nothing, checks nothing."""


def lanes(function: F) -> F:
    """Compile on first use, with floating-point sums free to run in vector lanes."""
    return cast("F", numba.njit(function, nogil=True, fastmath=_REORDER))


def exact(function: F) -> F:
    """Compile on first use, with floating-point operations as written."""
    return cast("F", numba.njit(function, nogil=True))


def merged(function: F) -> F:
    """Compile as part of each caller, with floating-point operations as written."""
    return cast("F", numba.njit(function, nogil=True, inline="always"))


def _extreme(name: str, kind: Any, number: Any) -> Any:
    """Return an intrinsic of two numbers that vector lanes can share: it promises that neither is NaN.

    A promise broken spoils the result, not the program: whoever uses it discards the result then. Numba's own
    min and max promise nothing, and so are not vectorised on floats.
    """

    def typed(context: Any, left: Any, right: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            function = builder.module.declare_intrinsic(name, [number], ir.FunctionType(number, [number] * 2))
            return builder.call(function, arguments, fastmath=("nnan", "nsz"))

        return kind(kind, kind), generate

    return cast("Callable[[Any, Any], Any]", intrinsic(typed))


def _float_of_bits(context: Any, bits: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.int32), generate


def _double_of_bits(context: Any, bits: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.DoubleType())

    return types.float64(types.int64), generate


def _bits_of_float(context: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.IntType(32))

    return types.int32(types.float32), generate


def _pointer(context: Any, address: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return types.voidptr(types.int64), generate


def _call_two(context: Any, function: Any, first: Any, second: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        word = ir.IntType(64)
        kind = ir.FunctionType(ir.IntType(32), [word, word])
        return builder.call(builder.inttoptr(arguments[0], kind.as_pointer()), arguments[1:])

    return types.int32(types.int64, types.int64, types.int64), generate


def _call_none(context: Any, function: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = ir.FunctionType(ir.VoidType(), [])
        builder.call(builder.inttoptr(arguments[0], kind.as_pointer()), [])
        return context.get_constant(types.int64, 0)

    return types.int64(types.int64), generate


float_of_bits = cast("Callable[[Any], Any]", intrinsic(_float_of_bits))
"""The fp32 number with these int32 bits."""
double_of_bits = cast("Callable[[Any], Any]", intrinsic(_double_of_bits))
"""The fp64 number with these int64 bits."""
bits_of_float = cast("Callable[[Any], Any]", intrinsic(_bits_of_float))
"""The int32 bits of an fp32 number."""
pointer = cast("Callable[[Any], Any]", intrinsic(_pointer))
"""The void pointer of an int64 address, for `numba.carray`."""
call_two = cast("Callable[[Any, Any, Any], Any]", intrinsic(_call_two))
"""Call the C function ``int32 f(pointer, pointer)`` at an address, with two addresses."""
call_none = cast("Callable[[Any], Any]", intrinsic(_call_none))
"""Call the C function ``void f(void)`` at an address."""
smaller = _extreme("llvm.minnum", types.float32, ir.FloatType())
"""The smaller of two fp32 numbers, neither of them NaN."""
larger = _extreme("llvm.maxnum", types.float32, ir.FloatType())
"""The larger of two fp32 numbers, neither of them NaN."""
smaller_double = _extreme("llvm.minnum", types.float64, ir.DoubleType())
"""The smaller of two fp64 numbers, neither of them NaN."""
larger_double = _extreme("llvm.maxnum", types.float64, ir.DoubleType())
"""The larger of two fp64 numbers, neither of them NaN."""
