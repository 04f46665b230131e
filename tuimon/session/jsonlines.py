"""The lines of `record --json`. Their names are a contract: add, but do not rename."""

from __future__ import annotations

import json
from collections.abc import Mapping

from tuimon.records.alert import Alert
from tuimon.records.criterion import ClassCounts, Criterion, Evaluation
from tuimon.records.hello import Hello
from tuimon.records.layout import Layout
from tuimon.records.sample import Sample
from tuimon.records.tensors import TensorStats
from tuimon.records.trial import Trial
from tuimon.session.change import (
    AlertChanged,
    Change,
    Compared,
    ConnectionChanged,
    Evaluated,
    FellSilent,
    Introduced,
    Left,
    Sampled,
)
from tuimon.session.session import Session

Line = dict[str, object]


def event_lines(session: Session, change: Change, tensors: bool = False) -> Line | None:
    """The JSON object of one change of `session`; None for what has no line.

    None is not measured; NaN and infinities stay floats. With `tensors`, samples carry every tensor.
    """
    match change:
        case Introduced(hello, layout):
            return _hello(hello, layout)
        case Sampled(sample):
            line = _sample(sample, session.layout if tensors else None)
            return {**line, "clip_ratio": session.history.clip_ratio}
        case Evaluated(evaluation):
            return _evaluation(evaluation)
        case Compared(trial):
            return _trial(trial) if trial.done else None
        case AlertChanged(alert):
            return _alert(alert)
        case FellSilent(silence):
            return {
                "event": "silence",
                "step": silence.step,
                "silent_s": silence.silent_s,
                "usual_s": silence.usual_s,
            }
        case Left(bye):
            return _bye(session, bye.reason)
        case ConnectionChanged(state) if state.status == "ended" and session.bye is None:
            # Killed: the agent could not say goodbye, so the session does it for it.
            return _bye(session, state.reason or "ended")
        case _:
            return None


def dumps(line: Mapping[str, object]) -> str:
    """One line of text without its newline; NaN and Infinity as Python's `json` writes and reads them."""
    return json.dumps(line, separators=(",", ":"), ensure_ascii=False)


def _hello(hello: Hello, layout: Layout | None) -> Line:
    return {
        "event": "hello",
        "pid": hello.pid,
        "name": hello.name,
        "host": hello.host,
        "parameters": hello.parameters,
        "trainable_parameters": hello.trainable_parameters,
        "layers": [] if layout is None else [layer.name for layer in layout.layers],
        "hidden_layers": _hidden(layout),
        "device": hello.devices[0] if hello.devices else None,
        "devices": list(hello.devices),
        "dtype": hello.dtypes[0] if hello.dtypes else None,
        "optimizers": list(hello.optimizers),
        "torch": hello.torch,
        "python": hello.python,
        "tuimon": hello.tuimon,
        "kernels": dict(hello.kernels),
        "rank": hello.rank,
        "world_size": hello.world_size,
        "probes": dict(hello.probes),
    }


def _hidden(layout: Layout | None) -> dict[str, str]:
    """Layers whose activations are not seen, with the reason."""
    return {layer.name: layer.hidden for layer in (layout.layers if layout else ()) if layer.hidden}


def _sample(sample: Sample, layout: Layout | None) -> Line:
    times = sample.times
    line: Line = {
        "event": "sample",
        "step": sample.step,
        "time": sample.time_s,
        "loss": sample.loss,
        "loss_divisor": sample.loss_divisor,
        "losses": dict(sample.losses),
        "criteria": [_criterion(one) for one in sample.criteria],
        "lr": list(sample.lr),
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
    if layout is not None:
        known = layout.id == sample.layout
        line["tensors"] = [_tensor(stats) for stats in sample.tensors.stats(layout)] if known else []
    return line


def _tensor(stats: TensorStats) -> Line:
    sketch = stats.sketch
    return {
        "name": stats.name,
        "kind": stats.kind.value,
        "layer": stats.layer,
        "n": sketch.n,
        "nan": sketch.nan,
        "inf": sketch.inf,
        "zero": sketch.zero,
        "norm": sketch.norm,
        "mean": sketch.mean,
        "min": sketch.min,
        "max": sketch.max,
        "update_ratio": stats.update_ratio,
        "dead_ratio": stats.dead_ratio,
        "saturated_ratio": stats.saturated_ratio,
        "whole_shape": None if stats.whole_shape is None else list(stats.whole_shape),
    }


def _evaluation(evaluation: Evaluation) -> Line:
    return {
        "event": "evaluation",
        "step": evaluation.step,
        "time": evaluation.time_s,
        "loss": evaluation.loss,
        "accuracy": evaluation.accuracy,
        "batches": evaluation.batches,
        "duration_s": evaluation.duration_s,
        "criteria": [_criterion(one) for one in evaluation.criteria],
    }


def _trial(trial: Trial) -> Line:
    return {
        "event": "measured",
        "step": trial.step,
        "time": trial.time_s,
        "ratio": trial.ratio,
        "low": trial.low,
        "high": trial.high,
        "confidence": trial.confidence,
        "pairs": trial.pairs,
        "block_steps": trial.block_steps,
        "every": trial.every,
        "watched_step_s": trial.watched_step_s,
        "bare_step_s": trial.bare_step_s,
        "stopped": trial.stopped,
    }


def _criterion(one: Criterion) -> Line:
    return {
        "name": one.name,
        "value": one.value,
        "reduction": one.reduction,
        "calls": one.calls,
        "n": one.n,
        "classes": one.classes,
        "accuracy": one.accuracy,
        "judged": one.judged,
        "labels": _counts(one.labels),
        "predictions": _counts(one.predictions),
    }


def _counts(counts: ClassCounts | None) -> Line | None:
    """Occurrences by class; "rest" is that of the classes not listed."""
    if counts is None:
        return None
    by_class = {str(one): n for one, n in zip(counts.classes, counts.counts, strict=True)}
    return {"counts": by_class, "rest": counts.rest}


def _alert(alert: Alert) -> Line:
    return {
        "event": "alert",
        "rule": alert.rule,
        "state": alert.state.value,
        "severity": alert.severity.word,
        "step": alert.step,
        "since_step": alert.since_step,
        "where": list(alert.where),
        "summary": alert.summary,
        "evidence": dict(alert.evidence),
        "advice": alert.advice,
        "consequences": list(alert.consequences),
    }


def _bye(session: Session, reason: str) -> Line:
    return {"event": "bye", "reason": reason, "alerts": session.digest()}
