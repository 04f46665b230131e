"""Records as rows of the tables that people query."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence

from tuimon.records.alert import Alert
from tuimon.records.criterion import Evaluation
from tuimon.records.hello import Hello
from tuimon.records.layout import Layout
from tuimon.records.record import Record
from tuimon.records.sample import Log, Notice, Sample

#: Tables whose rows are not numbered along with the frames.
KEYED_BY_LAYOUT = ("layers", "tensors")

Row = tuple[object, ...]


def of(record: Record) -> Iterator[tuple[str, list[Row]]]:
    """Rows by table, without the columns that number them."""
    match record:
        case Sample():
            yield "samples", [_sample(record)]
        case Layout():
            layers, tensors = enumerate(record.layers), enumerate(record.tensors)
            yield "layers", [(record.id, i, layer.name) for i, layer in layers]
            yield "tensors", [
                (record.id, i, t.name, t.kind.value, t.layer, t.dtype, t.shape and _json(t.shape))
                for i, t in tensors
            ]
        case Log():
            # NaN is no value of SQLite's: NULL, and exact in the frame.
            yield "logs", [(record.step, record.time_s, name, value) for name, value in record.values.items()]
        case Evaluation():
            at = record.step, record.time_s
            yield "evaluations", [
                (*at, one.name, one.value, one.accuracy, one.n, record.batches) for one in record.criteria
            ]
        case Notice():
            yield "notices", [(record.step, record.time_s, record.text)]


def of_hello(hello: Hello) -> dict[str, object]:
    """Columns of `runs`."""
    return {
        "pid": hello.pid,
        "name": hello.name,
        "host": hello.host,
        "user": hello.user,
        "command": _json(hello.command),
        "started_s": hello.started_s,
        "parameters": hello.parameters,
        "trainable_parameters": hello.trainable_parameters,
        "devices": _json(hello.devices),
        "dtypes": _json(hello.dtypes),
        "optimizers": _json(hello.optimizers),
        "probes": _json(hello.probes),
        "python": hello.python,
        "torch": hello.torch,
        "tuimon": hello.tuimon,
        "rank": hello.rank,
        "world_size": hello.world_size,
    }


def of_alert(alert: Alert) -> Row:
    """Columns of `alerts`, without those that number it."""
    return (
        alert.rule, alert.state.value, alert.severity.word, alert.step, alert.since_step, _json(alert.where),
        alert.summary, alert.advice, _json(alert.evidence), _json(alert.consequences),
    )  # fmt: skip


def _sample(sample: Sample) -> Row:
    times = sample.times
    numbers: dict[str, float | int | None] = {
        "loss": sample.loss,
        "lr": sample.lr[0] if sample.lr else None,
        "grad_norm": sample.grad_norm,
        "grad_norm_preclip": sample.grad_norm_preclip,
        "step_s": sample.step_s,
        "data_s": times.data_s,
        "forward_s": times.forward_s,
        "backward_s": times.backward_s,
        "optimizer_s": times.optimizer_s,
        "overhead_ratio": sample.overhead_ratio,
        "every": sample.every,
        "microbatches": sample.microbatches,
        "rss_bytes": sample.rss_bytes,
        "cuda_bytes": sample.cuda_bytes,
        "loss_scale": sample.loss_scale,
        "skipped": sample.skipped,
    }
    nan = [name for name, value in numbers.items() if isinstance(value, float) and math.isnan(value)]
    return (sample.step, sample.time_s, *numbers.values(), _json(nan) if nan else None)


def _json(value: Sequence[object] | Mapping[str, object]) -> str:
    return json.dumps(dict(value) if isinstance(value, Mapping) else list(value), ensure_ascii=False)
