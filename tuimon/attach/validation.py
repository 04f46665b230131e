"""The viewer's border: what comes off the wire is checked here, once, and trusted afterwards.

`tuimon.wire.decode` vouches for the shape of a record. Here its scalars are checked against the
records' own annotations (forms derived from them, so the two cannot drift apart), against
limits, and samples against the layout that they were read under.
"""

from __future__ import annotations

import functools
import operator
import types
from collections.abc import Mapping
from dataclasses import is_dataclass
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import msgspec

from tuimon.records.layout import Layout
from tuimon.records.record import Record
from tuimon.records.sample import Sample
from tuimon.records.tensors import TensorTable
from tuimon.wire.errors import BadFrame

#: Longest string (a notice with an error in it; a path), and longest list or mapping (a model of a
#: hundred thousand layers with two tensors each and their gradients stays below it).
MAX_CHARACTERS = 65_536
MAX_ITEMS = 1_000_000
#: What a 64-bit column of the viewer can hold; every whole number in a record is a count.
_COUNT = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_TEXT = Annotated[str, msgspec.Meta(max_length=MAX_CHARACTERS)]


class Validator:
    """Checks the records of one connection, in the order in which they come."""

    def __init__(self) -> None:
        self._tensors_by_layout: dict[int, int] = {}

    def check(self, record: Record) -> None:
        """Pass if the record is what its annotations promise.

        Raises:
            BadFrame: a value of the wrong type or size, a sample of an unknown layout, a row twice.
        """
        cls: type[Any] = type(record)
        try:
            msgspec.convert(record, _form_of(cls), from_attributes=True)  # type: ignore[arg-type]
        except msgspec.ValidationError as error:
            raise BadFrame(f"a {cls.__name__}: {error}") from None
        if isinstance(record, Layout):
            self._check_layout(record)
        elif isinstance(record, Sample):
            self._check_rows(record)

    def _check_layout(self, layout: Layout) -> None:
        k = len(layout.layers)
        if any(tensor.layer is not None and tensor.layer >= k for tensor in layout.tensors):
            raise BadFrame(f"a layout of {k} layers with a tensor of another one")
        self._tensors_by_layout[layout.id] = len(layout.tensors)

    def _check_rows(self, sample: Sample) -> None:
        tensors = self._tensors_by_layout.get(sample.layout)
        rows = sample.tensors.rows
        if tensors is None:
            if rows:
                raise BadFrame(f"sample {sample.index} of layout {sample.layout}, which was never sent")
            return
        if rows and (rows[0] < 0 or rows[-1] >= tensors or rows.tolist() != sorted(set(rows))):
            raise BadFrame(f"sample {sample.index} has rows that are not ascending below {tensors}")


@functools.cache
def _form_of(record: type[Any]) -> type[msgspec.Struct]:
    """A structure with the record's fields, each narrowed to what the viewer accepts."""
    fields = [(name, _narrowed(hint)) for name, hint in get_type_hints(record).items()]
    return msgspec.defstruct(f"{record.__name__}Form", fields)


def _narrowed(hint: Any) -> Any:
    if hint is TensorTable:
        return Any  # its columns are typed arrays, and the codec has checked how they fit together
    if hint is int:
        return _COUNT
    if hint is str:
        return _TEXT
    if isinstance(hint, type) and is_dataclass(hint):
        return _form_of(hint)
    arguments = [_narrowed(argument) for argument in get_args(hint)]
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return functools.reduce(operator.or_, arguments)
    if origin is tuple:  # always tuple[X, ...]
        return _limited(types.GenericAlias(tuple, tuple(arguments)))
    if origin is Mapping:
        return _limited(types.GenericAlias(dict, tuple(arguments)))
    return hint


def _limited(items: Any) -> Any:
    return Annotated[items, msgspec.Meta(max_length=MAX_ITEMS)]
