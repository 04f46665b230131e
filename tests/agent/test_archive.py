"""The past within its limit: what stays, what goes first, and what a viewer's place means."""

from __future__ import annotations

from array import array
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuimon.agent.publishing.archive import LOGS, NOTICES, Archive, Entry
from tuimon.attach.delivered import REMEMBERED
from tuimon.records.criterion import Criterion, Evaluation
from tuimon.records.layout import Layout
from tuimon.records.record import Record
from tuimon.records.sample import Bye, Log, Notice, Sample
from tuimon.records.tensors import TensorTable
from tuimon.wire import framing
from tuimon.wire.codec import decode, encode
from tuimon.wire.errors import FrameTooLong

PREFIX_BYTES = 4


def table(rows: int, width: int) -> TensorTable:
    """Rows that each carry a histogram of `width` exponents."""
    return TensorTable(
        array("i", range(rows)), array("q", [1] * 6 * rows), array("d", [0.5] * 4 * rows),
        array("d", [0.5] * 3 * rows), array("B", [7] * rows), array("q", [1] * rows),
        array("q", [0] * rows), array("h", [-4] * rows), array("h", [width] * rows),
        array("I", [1] * (2 * width * rows)),
    )  # fmt: skip


def sample(index: int, tensors: TensorTable, layout: int = 1) -> Sample:
    return Sample(index, index, 1000.0 + index, layout, tensors=tensors)


def layout(layout_id: int) -> Layout:
    return Layout(layout_id, (), ())


def kept(archive: Archive) -> list[Entry]:
    """All there is, as a viewer walks through it."""
    found: list[Entry] = []
    while (entry := archive.after(found[-1].sequence if found else 0)) is not None:
        found.append(entry)
    return found


def told(archive: Archive, kind: type[Any] = object) -> list[Any]:
    records = [decode(entry.frame[PREFIX_BYTES:]) for entry in kept(archive)]
    return [record for record in records if isinstance(record, kind)]


def test_what_goes_in_comes_out_in_order() -> None:
    records: list[Record] = [
        layout(1),
        sample(1, table(2, 3)),
        Log(1, 1001.0, {"accuracy": 0.5}),
        Notice(1, 1001.0, "by the way"),
        Evaluation(1, 1001.0, 4, 0.5, (Criterion("mse_loss", 0.5),)),
        sample(2, table(2, 3)),
        Bye("finished", 2, 1002.0),
    ]
    archive = Archive()
    assert [archive.append(record) for record in records] == [1, 2, 3, 4, 5, 6, 7]
    assert told(archive) == records
    assert [entry.frame for entry in kept(archive)] == [encode(record) for record in records]
    assert archive.last_sequence == 7


def test_a_reader_may_leave_out_samples_and_nothing_else() -> None:
    archive = Archive()
    for record in (layout(1), sample(1, table(1, 1)), Notice(1, 1.0, "here"), sample(2, table(1, 1))):
        archive.append(record)
    following = archive.after(1, samples_from=4)
    assert following is not None and following.kind is Notice
    following = archive.after(3, samples_from=4)
    assert following is not None and following.kind is Sample
    assert archive.after(3, samples_from=5) is None
    assert [archive.behind(place) for place in range(5)] == [4, 3, 2, 1, 0]


def test_an_empty_archive_has_nothing() -> None:
    archive = Archive()
    assert archive.after(0) is None
    assert archive.newest_sample is None and archive.newest_layout is None
    assert archive.size_bytes == archive.last_sequence == 0


def test_histograms_of_older_samples_go_before_any_sample_does() -> None:
    full, light = table(40, 20), table(40, 20).without_histograms()
    full_bytes = len(encode(sample(1, full)))
    archive = Archive(64 * full_bytes)
    count = 0
    while not any(entry.kind is Sample and not entry.histogram_bytes for entry in kept(archive)):
        count += 1
        archive.append(sample(count, full))
        assert count <= 64, "nothing gave way below the limit"
    archive.append(layout(1))
    # Full: then the older half without histograms and the newer half with them make room for more.
    more = 16
    for _ in range(more):
        count += 1
        archive.append(sample(count, full))
        assert archive.size_bytes <= 64 * full_bytes
    samples = told(archive, Sample)
    assert [one.index for one in samples] == list(range(1, count + 1))
    stripped = [one.tensors == light for one in samples]
    assert stripped[0] and not stripped[-1]
    assert stripped == sorted(stripped, reverse=True), "a newer sample lost what an older one has"
    assert all(one.tensors == (light if gone else full) for one, gone in zip(samples, stripped, strict=True))


def test_a_long_run_is_covered_evenly_from_its_first_sample() -> None:
    tensors = table(1, 1)
    frame_bytes = len(encode(sample(10_000, tensors)))
    archive = Archive(200 * frame_bytes)
    for index in range(1, 10_001):
        archive.append(sample(index, tensors))
    indices = [one.index for one in told(archive, Sample)]
    assert indices[0] == 1 and indices[-1] == 10_000
    gaps = [after - before for before, after in pairwise(indices)]
    assert gaps[-1] == 1
    # A thinned part of one stride, then samples that have not been thinned since they came. Of some
    # 200, at least an eighth is left for the past (a quarter, halved when the stride doubles).
    thinned = [gap for gap in gaps if gap == gaps[0]]
    assert len(thinned) >= 200 // 8
    assert max(gaps) <= 2 * gaps[0] <= 2 * 10_000 // len(thinned)
    assert len(indices) <= 200


@pytest.mark.parametrize("kind", [Log, Notice])
@pytest.mark.parametrize("length", [1, 4000], ids=["many", "long"])
def test_what_is_said_is_bounded_and_its_beginning_stays(kind: type[Any], length: int) -> None:
    limit_bytes = 1 << 20
    archive = Archive(limit_bytes)
    archive.append(layout(1))
    archive.append(sample(1, table(1, 1)))
    most, share = (LOGS, 8) if kind is Log else (NOTICES, 32)
    for step in range(most + 500):
        content: Any = {"x" * length: 1.0} if kind is Log else "x" * length
        archive.append(kind(step, 0.0, content))
    said = [entry for entry in kept(archive) if entry.kind is kind]
    assert len(said) <= most < REMEMBERED
    assert sum(len(entry.frame) for entry in said) <= limit_bytes // share
    steps = [record.step for record in told(archive, kind)]
    assert (steps[0], steps[-1]) == (0, most + 499)
    assert len(told(archive, Sample)) == 1


def test_layouts_stay_as_long_as_a_sample_needs_them() -> None:
    archive = Archive()
    archive.append(layout(1))
    archive.append(layout(2))  # nothing was read under the first
    archive.append(sample(1, table(1, 1), layout=2))
    archive.append(layout(3))
    assert archive.layout(1) is None
    assert [record.id for record in told(archive, Layout)] == [2, 3]
    newest, needed = archive.newest_layout, archive.layout(2)
    assert newest is not None and decode(newest.frame[PREFIX_BYTES:]) == layout(3)
    assert needed is not None and decode(needed.frame[PREFIX_BYTES:]) == layout(2)


def test_a_frame_without_histograms_is_made_on_request_and_shared() -> None:
    archive = Archive()
    full, bare = sample(1, table(3, 5)), sample(2, table(3, 5).without_histograms())
    archive.append(full)
    archive.append(bare)
    first, second = kept(archive)
    light = archive.without_histograms(first)
    assert light == encode(replace(full, tensors=full.tensors.without_histograms()))
    assert archive.without_histograms(first) is light
    assert archive.without_histograms(second) is second.frame
    assert first.frame == encode(full), "those who want the histograms still get them"


def test_a_sample_above_the_cap_goes_without_histograms_or_not_at_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    large = sample(1, table(50, 50))
    light = replace(large, tensors=large.tensors.without_histograms())
    archive = Archive()
    monkeypatch.setattr(framing, "MAX_PAYLOAD_BYTES", len(encode(light)))
    archive.append(large)
    assert told(archive) == [light]
    monkeypatch.setattr(framing, "MAX_PAYLOAD_BYTES", 100)
    with pytest.raises(FrameTooLong):
        archive.append(large)
    assert archive.last_sequence == 1 and told(archive) == [light]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("layout"), st.just(0), st.just(0)),
        st.tuples(st.just("sample"), st.integers(0, 12), st.integers(0, 30)),
        st.tuples(st.just("log"), st.integers(0, 300), st.just(0)),
        st.tuples(st.just("notice"), st.integers(0, 300), st.just(0)),
        st.tuples(st.just("evaluation"), st.integers(0, 300), st.just(0)),
    ),
    max_size=120,
)


@given(steps=STEPS, limit_bytes=st.integers(0, 60_000))
def test_whatever_comes_the_promises_hold(steps: list[tuple[str, int, int]], limit_bytes: int) -> None:
    archive = Archive(limit_bytes)
    layouts, samples = 1, 0
    archive.append(layout(1))
    for kind, a, b in steps:
        if kind == "layout":
            layouts += 1
            archive.append(layout(layouts))
        elif kind == "sample":
            samples += 1
            archive.append(sample(samples, table(a, b), layouts))
        elif kind == "log":
            archive.append(Log(samples, 0.0, {"x" * a: 1.0}))
        elif kind == "evaluation":
            archive.append(Evaluation(samples, 0.0, 1, 0.0, (Criterion("x" * a),)))
        else:
            archive.append(Notice(samples, 0.0, "x" * a))
        entries = kept(archive)
        assert archive.size_bytes == sum(len(entry.frame) for entry in entries)
        by_kind = {cls: [e for e in entries if e.kind is cls] for cls in (Layout, Sample, Log, Notice)}
        if len(by_kind[Sample]) > 2:
            assert archive.size_bytes <= limit_bytes
        assert {e.layout for e in by_kind[Sample]} <= {e.layout for e in by_kind[Layout]}
        assert by_kind[Layout][-1].layout == layouts
    indices = [one.index for one in told(archive, Sample)]
    assert indices == sorted(indices)
    assert not samples or (indices[0], indices[-1]) == (1, samples)
