"""Any record there can be, and what a frame can be made of by hand."""

from __future__ import annotations

import json
import struct
from array import array
from typing import Any

from hypothesis import strategies as st

from tuimon.records.criterion import ClassCounts, Criterion, Evaluation
from tuimon.records.hello import Hello
from tuimon.records.layout import LayerInfo, Layout, TensorInfo, TensorKind
from tuimon.records.record import Record
from tuimon.records.sample import Bye, Log, Notice, Sample, StepTimes
from tuimon.records.tensors import TensorTable
from tuimon.records.trial import Trial
from tuimon.wire.framing import Decoder

TEXT = st.text(max_size=12)
COUNT = st.integers(0, 2**63 - 1)
NUMBER = st.floats(width=64)
MAYBE_NUMBER = st.none() | NUMBER
TEXTS = st.dictionaries(TEXT, TEXT, max_size=3)
NUMBERS = st.dictionaries(TEXT, NUMBER, max_size=3)


def tuples(items: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(items, max_size=4).map(tuple)


@st.composite
def tables(draw: st.DrawFn) -> TensorTable:
    k = draw(st.integers(0, 4))

    def column(typecode: str, items: st.SearchStrategy[Any], length: int) -> array[Any]:
        return array(typecode, draw(st.lists(items, min_size=length, max_size=length)))

    widths = column("h", st.integers(0, 5), k)
    bins = st.integers(0, 2**32 - 1)
    return TensorTable(
        rows=column("i", st.integers(0, 2**31 - 1), k),
        counts=column("q", COUNT, 6 * k),
        moments=column("d", NUMBER, 4 * k),
        ratios=column("d", NUMBER, 3 * k),
        measured=column("B", st.integers(0, 7), k),
        hist_n=column("q", COUNT, k),
        hist_zero=column("q", COUNT, k),
        hist_first=column("h", st.integers(-1074, 1023), k),
        hist_width=widths,
        hist_counts=column(draw(st.sampled_from("Iq")) if k else "I", bins, 2 * sum(widths)),
    )


LAYERS = st.builds(
    LayerInfo,
    name=TEXT,
    type=TEXT,
    hidden=st.none() | TEXT,
    activity=st.none() | TEXT,
    channels=st.none() | COUNT,
)
TENSORS = st.builds(
    TensorInfo,
    name=TEXT,
    kind=st.sampled_from(TensorKind),
    layer=st.none() | COUNT,
    dtype=st.none() | TEXT,
    shape=st.none() | tuples(COUNT),
    trainable=st.none() | st.booleans(),
    sparse_by_design=st.booleans(),
)
HELLOS = st.builds(
    Hello,
    pid=COUNT,
    name=TEXT,
    host=TEXT,
    user=TEXT,
    command=tuples(TEXT),
    started_s=NUMBER,
    parameters=COUNT,
    trainable_parameters=COUNT,
    devices=tuples(TEXT),
    dtypes=tuples(TEXT),
    python=TEXT,
    torch=TEXT,
    tuimon=TEXT,
    kernels=TEXTS,
    probes=TEXTS,
    budget_ratio=MAYBE_NUMBER,
    every=st.none() | COUNT,
    rank=st.none() | COUNT,
    world_size=st.none() | COUNT,
    optimizers=tuples(TEXT),
)
COUNTED = st.lists(st.tuples(COUNT, COUNT), max_size=3).flatmap(
    lambda pairs: st.builds(
        ClassCounts,
        classes=st.just(tuple(one for one, _ in pairs)),
        counts=st.just(tuple(n for _, n in pairs)),
        rest=COUNT,
    )
)
CRITERIA = st.builds(
    Criterion,
    name=TEXT,
    value=MAYBE_NUMBER,
    reduction=TEXT,
    calls=COUNT,
    n=st.none() | COUNT,
    classes=st.none() | COUNT,
    judged=COUNT,
    correct=st.none() | COUNT,
    labels=st.none() | COUNTED,
    predictions=st.none() | COUNTED,
)
SAMPLES = st.builds(
    Sample,
    index=COUNT,
    step=COUNT,
    time_s=NUMBER,
    layout=COUNT,
    loss=MAYBE_NUMBER,
    loss_divisor=st.none() | COUNT,
    losses=NUMBERS,
    lr=tuples(MAYBE_NUMBER),
    grad_norm=MAYBE_NUMBER,
    times=st.builds(StepTimes, data_s=MAYBE_NUMBER, backward_s=MAYBE_NUMBER),
    rss_bytes=st.none() | COUNT,
    skipped=st.none() | st.booleans(),
    trouble=TEXTS,
    criteria=tuples(CRITERIA),
    tensors=tables(),
)
RECORDS: st.SearchStrategy[Record] = st.one_of(
    HELLOS,
    st.builds(Layout, id=COUNT, layers=tuples(LAYERS), tensors=tuples(TENSORS)),
    SAMPLES,
    st.builds(
        Evaluation,
        step=COUNT,
        time_s=NUMBER,
        batches=COUNT,
        duration_s=NUMBER,
        criteria=tuples(CRITERIA),
    ),
    st.builds(
        Trial,
        step=COUNT,
        time_s=NUMBER,
        pairs=COUNT,
        wanted=COUNT,
        block_steps=COUNT,
        every=COUNT,
        ratio=MAYBE_NUMBER,
        low=MAYBE_NUMBER,
        confidence=MAYBE_NUMBER,
        bare_step_s=MAYBE_NUMBER,
        asked=tuples(TEXT),
        done=st.booleans(),
        stopped=st.none() | TEXT,
    ),
    st.builds(Log, step=COUNT, time_s=NUMBER, values=NUMBERS),
    st.builds(Notice, step=COUNT, time_s=NUMBER, text=TEXT),
    st.builds(Bye, reason=TEXT, step=COUNT, time_s=NUMBER),
)


def payload_of(frame: bytes) -> bytes:
    (payload,) = Decoder().feed(frame)
    return payload


def payload_from(header: object, tail: bytes = b"") -> bytes:
    """A payload by hand, whatever its header holds."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<I", len(text)) + text + tail
