"""One payload: a JSON header, then raw arrays.

    offset 0      header length h (4 bytes, little-endian, unsigned)
    offset 4      header, h bytes of JSON in UTF-8: {"v": 1, "type": "sample", ...fields...,
                  "arrays": [[name, typecode, count], ...]}; NaN, Infinity and -Infinity as such
    then          the arrays in that order, little-endian, each beginning at the next multiple of 8

A reader ignores fields and arrays that it does not know, so adding one needs no new version.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import json
import struct
import sys
from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tuimon.wire.errors import BadFrame, WrongVersion
from tuimon.wire.framing import length_prefix

#: Raised only when an old reader would misread a new writer; additions do not count.
WIRE_VERSION = 1

#: Bytes per element of the typecodes that may travel. Interpreters where `array` differs refuse them.
ITEM_BYTES = {"b": 1, "B": 1, "h": 2, "H": 2, "i": 4, "I": 4, "q": 8, "Q": 8, "f": 4, "d": 8}

_HEADER_LENGTH = struct.Struct("<I")
_PADDING = tuple(bytes(-k % 8) for k in range(8))
_OURS = ("v", "type", "arrays")
_SWAP = sys.byteorder == "big"

NamedArray = tuple[str, "array[Any]"]


@dataclass(frozen=True, slots=True)
class Envelope:
    """A payload taken apart, before it is known to be any particular record."""

    type: str
    #: The header's own fields, as JSON gives them.
    fields: Mapping[str, Any]
    arrays: Mapping[str, array[Any]] = field(default_factory=dict)


def pack(type_name: str, fields: Mapping[str, Any], arrays: Iterable[NamedArray] = ()) -> bytes:
    """A whole frame, length prefix included.

    Costs one JSON encoding of `fields` and one copy of the arrays, whatever their length.

    Raises:
        FrameTooLong: the payload is above the cap.
        TypeError: a field is no JSON value, dataclass, enum or mapping.
    """
    named = [(name, _little_endian(column)) for name, column in arrays]
    heads = [(name, column.typecode, len(column)) for name, column in named]
    header = _encode_json({**fields, "v": WIRE_VERSION, "type": type_name, "arrays": heads}).encode()
    offset = _HEADER_LENGTH.size + len(header)
    parts: list[Any] = [_HEADER_LENGTH.pack(len(header)), header]
    for _, column in named:
        padding = _PADDING[offset % 8]
        parts += (padding, column)
        offset += len(padding) + len(column) * column.itemsize
    return b"".join((length_prefix(offset), *parts))


def unpack(payload: bytes) -> Envelope:
    """The parts of one payload.

    Raises:
        BadFrame: it is cut off, too long, no JSON object, or its arrays do not fit.
        WrongVersion: it was written by another version of the wire.
    """
    if len(payload) < _HEADER_LENGTH.size:
        raise BadFrame(f"a payload of {len(payload)} bytes has no room for a header")
    (length,) = _HEADER_LENGTH.unpack_from(payload)
    end = _HEADER_LENGTH.size + length
    if end > len(payload):
        raise BadFrame(f"a header of {length} bytes in a payload of {len(payload)}")
    header = _json_object(payload[_HEADER_LENGTH.size : end])
    version = header.get("v")
    if version != WIRE_VERSION or isinstance(version, bool):
        raise WrongVersion(version, WIRE_VERSION)
    type_name = header.get("type")
    if not isinstance(type_name, str):
        raise BadFrame("a header without a type")
    arrays = _arrays(header.get("arrays", []), payload, end)
    return Envelope(type_name, {k: v for k, v in header.items() if k not in _OURS}, arrays)


def _little_endian(column: array[Any]) -> array[Any]:
    if not _SWAP or column.itemsize == 1:
        return column
    swapped = array(column.typecode, column)
    swapped.byteswap()
    return swapped


def _plain(value: object) -> object:
    """What JSON has no word for: nested records, enums, mappings that are no dict."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {name: getattr(value, name) for name in _field_names(type(value))}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} does not travel")


@functools.cache
def _field_names(cls: type[Any]) -> tuple[str, ...]:
    # A sample holds half a dozen records; asking each for its fields took a tenth of encoding it.
    return tuple(f.name for f in dataclasses.fields(cls))


_encode_json = json.JSONEncoder(separators=(",", ":"), check_circular=False, default=_plain).encode


def _json_object(text: bytes) -> dict[str, Any]:
    try:
        header = json.loads(text.decode())
        # Half a surrogate pair (a command line that was no UTF-8) can be neither printed nor stored.
        if b"\\ud" in text:
            header = _storable(header)
    except (ValueError, RecursionError) as error:
        raise BadFrame(f"a header that is no JSON: {error!s:.80}") from None
    if not isinstance(header, dict):
        raise BadFrame("a header that is no JSON object")
    return header


def _storable(value: Any) -> Any:
    match value:
        case str():
            return value.encode("utf-8", "replace").decode()
        case list():
            return [_storable(item) for item in value]
        case dict():
            return {_storable(name): _storable(item) for name, item in value.items()}
        case _:
            return value


def _arrays(heads: object, payload: bytes, end: int) -> dict[str, array[Any]]:
    if not isinstance(heads, list):
        raise BadFrame("the list of arrays is no list")
    found: dict[str, array[Any]] = {}
    view = memoryview(payload)
    for head in heads:
        name, column, count_bytes = _array_head(head)
        start = end + -end % 8
        end = start + count_bytes
        if end > len(payload):
            raise BadFrame(f"array {name!r:.40} ends {end - len(payload)} bytes after its payload")
        column.frombytes(view[start:end])
        if _SWAP:
            column.byteswap()
        found[name] = column
    if end != len(payload):
        raise BadFrame(f"{len(payload) - end} bytes after the last array")
    return found


def _array_head(head: object) -> tuple[str, array[Any], int]:
    """Name, empty array of the type announced, and the bytes that are to fill it."""
    match head:
        case [str(name), str(typecode), int(count)] if typecode in ITEM_BYTES and count >= 0:
            column: array[Any] = array(typecode)
        case _:
            raise BadFrame(f"an array announced as {head!r:.60}")
    if column.itemsize != ITEM_BYTES[typecode]:
        raise BadFrame(f"this interpreter's arrays of {typecode!r} have {column.itemsize} bytes per element")
    return name, column, count * column.itemsize
