"""Records survive the wire; whatever else arrives is refused by one of two names."""

from __future__ import annotations

import json
import math
import sys
from array import array
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_strategies import RECORDS, SAMPLES, payload_from, payload_of

from tuimon.records.record import Record
from tuimon.records.sample import Bye, Log, Notice, Sample
from tuimon.records.tensors import TensorTable
from tuimon.wire import framing
from tuimon.wire.codec import TYPES, decode, encode
from tuimon.wire.envelope import WIRE_VERSION, pack
from tuimon.wire.errors import BadFrame, FrameTooLong, WireError, WrongVersion

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def table(k: int, width: int) -> TensorTable:
    return TensorTable(
        array("i", range(k)), array("q", [1] * 6 * k), array("d", [0.5] * 4 * k), array("d", [0.5] * 3 * k),
        array("B", [7] * k), array("q", [1] * k), array("q", [0] * k), array("h", [-4] * k),
        array("h", [width] * k), array("I", [1] * (2 * width * k)),
    )  # fmt: skip


@given(RECORDS)
def test_every_record_survives(record: Record) -> None:
    # By repr, for which NaN equals NaN, and -0.0 is not 0.0.
    assert repr(decode(payload_of(encode(record)))) == repr(record)


def test_absence_nan_and_infinity_stay_apart() -> None:
    sample = Sample(1, 2, 3.0, 1, loss=math.nan, grad_norm=math.inf, lr=(None, 0.0))
    read = decode(payload_of(encode(sample)))
    assert isinstance(read, Sample)
    assert read.loss is not None
    assert math.isnan(read.loss)
    assert (read.grad_norm, read.grad_norm_preclip, read.lr) == (math.inf, None, (None, 0.0))


@given(SAMPLES)
def test_arrays_lie_at_multiples_of_eight(sample: Sample) -> None:
    payload = payload_of(encode(sample))
    end = 4 + int.from_bytes(payload[:4], "little")
    for _, typecode, count in json.loads(payload[4:end])["arrays"]:
        end += -end % 8 + count * array(typecode).itemsize
    assert end == len(payload)


def test_encoding_a_sample_takes_no_more_work_for_more_rows() -> None:
    def calls(k: int) -> int:
        sample = Sample(1, 2, 3.0, 1, tensors=table(k, 20))
        count = 0

        def counted(*_: object) -> None:
            nonlocal count
            count += 1

        sys.setprofile(counted)
        try:
            encode(sample)
        finally:
            sys.setprofile(None)
        return count

    assert calls(600) == calls(1)


def test_encoding_leaves_the_record_alone() -> None:
    sample = Sample(1, 2, 3.0, 1, tensors=table(3, 2))
    before = repr(sample)
    encode(sample)
    assert repr(sample) == before


def test_what_cannot_travel_is_refused_where_it_is_sent() -> None:
    with pytest.raises(TypeError, match="object does not travel"):
        encode(Log(1, 1.0, {"loss": object()}))  # type: ignore[dict-item]


def test_a_frame_above_the_cap_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(framing, "MAX_PAYLOAD_BYTES", 1000)
    with pytest.raises(FrameTooLong, match="above the cap of 1000"):
        encode(Notice(1, 1.0, "x" * 1000))


def test_unknown_fields_and_arrays_are_ignored() -> None:
    frame = pack("bye", {"reason": "finished", "mood": "good"}, [("extra", array("f", [1.0]))])
    assert decode(payload_of(frame)) == Bye("finished")


def test_an_unknown_array_beside_the_table_is_ignored() -> None:
    sample = Sample(1, 2, 3.0, 1, tensors=table(2, 1))
    payload = payload_of(encode(sample))
    length = int.from_bytes(payload[:4], "little")
    header = json.loads(payload[4 : 4 + length])
    columns = {name: getattr(sample.tensors, name) for name, *_ in header["arrays"]}
    fields = {k: v for k, v in header.items() if k not in ("v", "type", "arrays")}
    frame = pack("sample", fields, [("new", array("h", [1, 2, 3])), *columns.items()])
    assert decode(payload_of(frame)) == sample


def test_fields_added_later_have_their_defaults() -> None:
    assert decode(payload_of(pack("bye", {"reason": "closed"}))) == Bye("closed", 0, 0.0)


def test_an_unknown_type_is_none() -> None:
    assert decode(payload_of(pack("confession", {"reason": "?"}))) is None


@pytest.mark.parametrize("version", [WIRE_VERSION + 1, 0, None, "1", True, [1]])
def test_another_version_is_named_beside_ours(version: object) -> None:
    with pytest.raises(WrongVersion, match="version") as caught:
        decode(payload_from({"v": version, "type": "bye", "reason": ""}))
    assert caught.value.theirs == version
    assert repr(version) in str(caught.value)
    assert f"this side version {WIRE_VERSION}" in str(caught.value)


@given(st.binary(max_size=200))
def test_garbage_is_refused_by_name(payload: bytes) -> None:
    with pytest.raises(WireError):
        decode(payload)


@given(RECORDS, st.data())
def test_a_payload_cut_anywhere_is_a_bad_frame(record: Record, data: st.DataObject) -> None:
    payload = payload_of(encode(record))
    cut = data.draw(st.integers(0, len(payload) - 1))
    with pytest.raises(BadFrame):
        decode(payload[:cut])


@given(RECORDS, st.binary(min_size=1, max_size=20))
def test_bytes_after_the_end_are_a_bad_frame(record: Record, more: bytes) -> None:
    with pytest.raises(BadFrame):
        decode(payload_of(encode(record)) + more)


@given(SAMPLES, st.data())
def test_a_flipped_byte_is_refused_by_name_or_leaves_a_whole_record(
    sample: Sample, data: st.DataObject
) -> None:
    payload = bytearray(payload_of(encode(sample)))
    payload[data.draw(st.integers(0, len(payload) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        read = decode(bytes(payload))
    except WireError:
        return
    if isinstance(read, Sample):
        for k in range(len(read.tensors)):
            read.tensors.sketch(k)


@given(st.sampled_from(sorted(TYPES)), st.data())
def test_fields_of_any_type_are_refused_by_name_or_make_a_record(name: str, data: st.DataObject) -> None:
    names = st.sampled_from(sorted(TYPES[name].__dataclass_fields__))
    fields = data.draw(st.dictionaries(names, JSON, max_size=12))
    payload = payload_from({"v": WIRE_VERSION, "type": name, **fields})
    try:
        record = decode(payload)
    except BadFrame:
        return
    assert isinstance(record, TYPES[name])


@pytest.mark.parametrize(
    "header",
    [
        b"[" * 100_000,
        b'{"v":1,"n":' + b"1" * 10_000 + b"}",
        b"[]",
        b"\xff\xfe",
        {"v": WIRE_VERSION},
        {"v": WIRE_VERSION, "type": 3},
        {"v": WIRE_VERSION, "type": "bye"},
        {"v": WIRE_VERSION, "type": "bye", "reason": "", "arrays": {}},
        {"v": WIRE_VERSION, "type": "bye", "reason": "", "arrays": [["a", "u", 0]]},
        {"v": WIRE_VERSION, "type": "bye", "reason": "", "arrays": [["a", "q", -1]]},
        # Two arrays that cancel out; the header ends at a multiple of 8.
        b'{"v":1,"type":"bye","reason":"","arrays":[["a","q",-1],["b","q",1]]}',
        {"v": WIRE_VERSION, "type": "bye", "reason": "", "arrays": [["a", "q", 10**30]]},
        {"v": WIRE_VERSION, "type": "bye", "reason": "", "arrays": [["a", "q"]]},
        {"v": WIRE_VERSION, "type": "layout", "id": 1, "layers": [3], "tensors": []},
        {"v": WIRE_VERSION, "type": "layout", "id": 1, "layers": [], "tensors": [{"name": "a", "kind": "x"}]},
        {"v": WIRE_VERSION, "type": "log", "step": 1, "time_s": 0, "values": []},
    ],
    ids=str,
)
def test_headers_that_do_not_fit_are_bad_frames(header: object) -> None:
    with pytest.raises(BadFrame):
        decode(payload_from(header))


def broken_tables() -> list[Any]:
    whole = table(2, 3)
    return [
        replace(whole, rows=array("i", [0])),
        replace(whole, rows=array("q", [0, 1])),
        replace(whole, counts=array("q", [0] * 11)),
        replace(whole, hist_width=array("h", [3, 4])),
        replace(whole, hist_width=array("h", [7, -1])),
        replace(whole, hist_counts=array("I", [0] * 11)),
    ]


@pytest.mark.parametrize("tensors", broken_tables())
def test_columns_that_do_not_fit_together_are_bad_frames(tensors: TensorTable) -> None:
    with pytest.raises(BadFrame, match="table"):
        decode(payload_of(encode(Sample(1, 2, 3.0, 1, tensors=tensors))))


def test_a_missing_column_is_a_bad_frame() -> None:
    fields = {"index": 1, "step": 2, "time_s": 3.0, "layout": 1}
    with pytest.raises(BadFrame, match="'counts' is missing"):
        decode(payload_of(pack("sample", fields, [("rows", array("i", [0]))])))


def test_halves_of_surrogates_arrive_as_something_that_can_be_stored() -> None:
    read = decode(payload_of(encode(Notice(1, 1.0, "caf\udce9 \U0001f525"))))
    assert read == Notice(1, 1.0, "caf? \U0001f525")
