"""Records to frames and payloads to records: the agent encodes, the viewer decodes.

`decode` checks shapes (what is a list, a mapping, a table whose columns fit together), so that a
record it returns can be walked through without surprise. Types of scalars and sane limits are
the viewer's to check at its own border.
"""

from __future__ import annotations

import dataclasses
from array import array
from collections.abc import Callable, Mapping
from typing import Any

from tuimon.records.criterion import ClassCounts, Criterion, Evaluation
from tuimon.records.hello import Hello
from tuimon.records.layout import LayerInfo, Layout, TensorInfo, TensorKind
from tuimon.records.record import Record
from tuimon.records.sample import Bye, Log, Notice, Sample, StepTimes
from tuimon.records.tensors import COUNTS, MOMENTS, RATIOS, TensorTable, empty_table
from tuimon.records.trial import Trial
from tuimon.wire.envelope import Envelope, pack, unpack
from tuimon.wire.errors import BadFrame

#: Names on the wire.
TYPES: Mapping[str, type[Record]] = {
    "hello": Hello,
    "layout": Layout,
    "sample": Sample,
    "evaluation": Evaluation,
    "trial": Trial,
    "log": Log,
    "notice": Notice,
    "bye": Bye,
}

#: Typecodes that each column of a `TensorTable` may have.
COLUMNS: Mapping[str, str] = {
    "rows": "i",
    "counts": "q",
    "moments": "d",
    "ratios": "d",
    "measured": "B",
    "hist_n": "q",
    "hist_zero": "q",
    "hist_first": "h",
    "hist_width": "h",
    "hist_counts": "Iq",
}

_NAMES = {cls: name for name, cls in TYPES.items()}
_FIELDS = {
    cls: tuple(f.name for f in dataclasses.fields(cls) if f.name != "tensors" or cls is not Sample)
    for cls in (*TYPES.values(), LayerInfo, TensorInfo, StepTimes, Criterion, ClassCounts)
}


def encode(record: Record) -> bytes:
    """A whole frame, length prefix included, ready for any number of viewers.

    A sample costs O(columns) Python work, no loop over its rows.

    Raises:
        FrameTooLong: the record is above the cap.
        TypeError: a field holds something that is no JSON value, such as a tensor.
    """
    cls = type(record)
    fields = {name: getattr(record, name) for name in _FIELDS[cls]}
    if isinstance(record, Sample) and len(record.tensors):
        table = record.tensors
        return pack(_NAMES[cls], fields, [(name, getattr(table, name)) for name in COLUMNS])
    return pack(_NAMES[cls], fields)


def decode(payload: bytes) -> Record | None:
    """The record of one payload; None for a type that this version does not know.

    Raises:
        BadFrame: the payload is no record.
        WrongVersion: it was written by another version of the wire.
    """
    envelope = unpack(payload)
    cls = TYPES.get(envelope.type)
    if cls is None:
        return None
    values = _known(cls, envelope.fields)
    if cls is Sample:
        values["tensors"] = _table(envelope)
    record: Record = _made(cls, values)
    return record


def _made(cls: type[Any], values: Mapping[str, Any]) -> Any:
    try:
        return cls(**values)
    except TypeError as error:  # a required field is missing
        raise BadFrame(f"a {cls.__name__} that does not fit: {error!s:.80}") from None


def _known(cls: type[Any], fields: object) -> dict[str, Any]:
    """The fields that the record has, nested ones converted."""
    if not isinstance(fields, Mapping):
        raise BadFrame(f"a {cls.__name__} that is no JSON object")
    convert = _CONVERTERS.get(cls, {})
    found = {name: fields[name] for name in _FIELDS[cls] if name in fields}
    for name, conversion in convert.items():
        if name in found:
            found[name] = conversion(found[name])
    return found


def _nested(cls: type[Any]) -> Callable[[object], Any]:
    return lambda value: _made(cls, _known(cls, value))


def _listed(value: object) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise BadFrame(f"{value!r:.40} where a list belongs")
    return tuple(value)


def _each(cls: type[Any]) -> Callable[[object], tuple[Any, ...]]:
    one = _nested(cls)
    return lambda value: tuple(one(item) for item in _listed(value))


def _mapped(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadFrame(f"{value!r:.40} where an object belongs")
    return value


def _class_counts(value: object) -> ClassCounts | None:
    if value is None:
        return None
    counts: ClassCounts = _nested(ClassCounts)(value)
    if len(counts.classes) != len(counts.counts):
        raise BadFrame(f"{len(counts.classes)} classes with {len(counts.counts)} counts")
    return counts


def _shape(value: object) -> tuple[Any, ...] | None:
    return None if value is None else _listed(value)


def _kind(value: object) -> TensorKind:
    try:
        return TensorKind(value)
    except ValueError:
        raise BadFrame(f"a tensor of kind {value!r:.40}") from None


_CONVERTERS: Mapping[type[Any], Mapping[str, Callable[[object], Any]]] = {
    Hello: {
        "command": _listed,
        "devices": _listed,
        "dtypes": _listed,
        "optimizers": _listed,
        "kernels": _mapped,
        "probes": _mapped,
    },
    Layout: {"layers": _each(LayerInfo), "tensors": _each(TensorInfo)},
    TensorInfo: {"kind": _kind, "shape": _shape, "whole_shape": _shape},
    ClassCounts: {"classes": _listed, "counts": _listed},
    Criterion: {"labels": _class_counts, "predictions": _class_counts},
    Sample: {
        "losses": _mapped,
        "lr": _listed,
        "times": _nested(StepTimes),
        "trouble": _mapped,
        "criteria": _each(Criterion),
    },
    Trial: {"asked": _listed},
    Evaluation: {"criteria": _each(Criterion)},
    Log: {"values": _mapped},
}


def _table(envelope: Envelope) -> TensorTable:
    if not envelope.arrays:
        return empty_table()
    columns: dict[str, array[Any]] = {}
    for name, typecodes in COLUMNS.items():
        column = envelope.arrays.get(name)
        if column is None or column.typecode not in typecodes:
            raise BadFrame(f"a table whose column {name!r} is missing or of another type")
        columns[name] = column
    table = TensorTable(**columns)
    k = len(table)
    per_row = {"counts": len(COUNTS), "moments": len(MOMENTS), "ratios": len(RATIOS), "hist_counts": 0}
    for name, column in columns.items():
        expected = k * per_row.get(name, 1)
        if name != "hist_counts" and len(column) != expected:
            raise BadFrame(f"a table of {k} rows whose column {name!r} has {len(column)} values")
    if (k and min(table.hist_width) < 0) or 2 * sum(table.hist_width) != len(table.hist_counts):
        raise BadFrame("a table whose histograms do not fit their widths")
    return table
