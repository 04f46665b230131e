"""`nonfinite`: where NaN and infinities came from."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tuimon.records.alert import Severity
from tuimon.records.layout import Layout, TensorKind
from tuimon.rules.evidence import MOST_NAMES, Hypothesis, evidence, number
from tuimon.rules.robust import trailing_run
from tuimon.rules.rule import HEALTHY, Explanation, Finding, Findings, Firing, Rule, Stage, Verdict
from tuimon.rules.series import Series
from tuimon.rules.view import View

#: Skipped steps in a row after which a loss scaler no longer recovers. A scaler that starts at 65536
#: and halves comes down to 1 in 16 skips, and trainings recover within the first few.
_SKIPS = 16

#: Largest finite value by dtype (IEEE 754; bfloat16 has the range of float32).
_LARGEST = {"float16": 65504.0, "bfloat16": 3.3895e38, "float32": 3.4028e38, "float64": 1.7977e308}

_STAGES = {
    TensorKind.INPUT: Stage.DATA,
    TensorKind.ACTIVATION: Stage.FORWARD,
    TensorKind.OUTPUT_GRADIENT: Stage.BACKWARD,
    TensorKind.GRADIENT: Stage.BACKWARD,
    TensorKind.WEIGHT: Stage.UPDATE,
}


@dataclass(frozen=True, slots=True)
class _Culprit:
    """Something not finite, with its place in causal order."""

    since_step: int
    stage: Stage
    #: Place within the stage: layers forward, or backward from the last one.
    place: int
    name: str
    row: int | None
    #: Samples in a row that showed it.
    samples: int
    #: Whether it harms by itself: the loss, a gradient that is applied, a weight.
    is_effect: bool

    @property
    def order(self) -> tuple[int, int, int]:
        return self.since_step, self.stage, self.place


def _judge(view: View, firing: Firing) -> Verdict:
    if _forgiven(view):
        return HEALTHY
    culprits = sorted(_culprits(view), key=lambda culprit: culprit.order)
    effects = [c for c in culprits if c.is_effect]
    if not culprits or (not effects and _sees_effect(view)):
        # An infinity that reaches no gradient is by design: attention masks are made of them.
        return HEALTHY
    if effects:
        # So is one that was there for samples on end before anything came of it.
        longest = max(c.samples for c in effects) + 1
        culprits = [c for c in culprits if c.is_effect or c.samples <= longest]
    # Once it fires the first culprit stays: when its first step leaves the window, all seem to begin there.
    first = next((c for c in culprits if c.name in firing), culprits[0])
    ordered = [first, *(c for c in culprits if c is not first)]
    return Findings((_finding(view, ordered),))


def _forgiven(view: View) -> bool:
    """Whether a loss scaler skipped this step, as it does now and then by design."""
    sample = view.sample
    if not sample.skipped:
        return False
    skipped = view.scalar("skipped", _SKIPS)
    run = trailing_run(skipped.measured & (skipped.values > 0))
    rows = view.rows_of(TensorKind.WEIGHT)
    now = view.tensors("nonfinite", rows, 1)
    return run < _SKIPS and not bool((now.measured & (now.values > 0)).any())


def _sees_effect(view: View) -> bool:
    if view.sample.loss is not None or view.sample.grad_norm is not None:
        return True
    rows = view.rows_of(TensorKind.GRADIENT, TensorKind.WEIGHT)
    return bool(view.tensors("nonfinite", rows, 1).measured.any())


def _culprits(view: View) -> Iterator[_Culprit]:
    for name in ("loss", "grad_norm"):
        culprit = _scalar_culprit(view.scalar(name, 64), name, view.sample.step)
        # The norm says nothing that gradients do not say; it counts where those are not seen.
        if culprit is not None and (name == "loss" or not view.sample.tensors.rows):
            yield culprit
    if view.layout is None:
        return
    rows = view.rows_of(*TensorKind)
    now = view.tensors("nonfinite", rows, 1)
    if not len(now.steps) or now.steps[-1] != view.sample.step:
        return
    bad = rows[now.measured[-1] & (now.values[-1] > 0)]
    if not len(bad):
        return
    past = view.tensors("nonfinite", bad)
    for i, row in enumerate(bad):
        info = view.layout.tensors[row]
        measured = past.measured[:, i]
        run = trailing_run(past.values[measured, i] > 0)
        stage = _STAGES[info.kind]
        since = int(past.steps[measured][-run])
        harms = info.kind in (TensorKind.GRADIENT, TensorKind.WEIGHT)
        yield _Culprit(since, stage, _place(view.layout, int(row)), info.name, int(row), run, harms)


def _scalar_culprit(series: Series, name: str, step: int) -> _Culprit | None:
    series = series.present
    if not len(series) or series.steps[-1] != step or math.isfinite(series.values[-1]):
        return None
    run = trailing_run(~np.isfinite(series.values))
    stage = Stage.LOSS if name == "loss" else Stage.BACKWARD
    return _Culprit(int(series.steps[-run]), stage, 0, name, None, run, True)


def _place(layout: Layout, row: int) -> int:
    """Execution order within a stage; backward meets the last layer first, its output before its weights."""
    info = layout.tensors[row]
    layer = -1 if info.layer is None else info.layer
    if info.kind is TensorKind.OUTPUT_GRADIENT:
        return 2 * (len(layout.layers) - layer)
    if info.kind is TensorKind.GRADIENT:
        return 2 * (len(layout.layers) - layer) + 1
    return 2 * layer


def _finding(view: View, culprits: list[_Culprit]) -> Finding:
    first, sample = culprits[0], view.sample
    names = tuple(dict.fromkeys(c.name for c in culprits))
    dtype, low, high, finite_step = _last_finite(view, first)
    largest = _LARGEST.get(dtype or "")
    reach = None if low is None or high is None else max(abs(low), abs(high))
    headroom = largest / reach if largest and reach else None
    what = _kind(view, first)
    summary = f"{what} of {first.name} is not finite" if what != first.name else f"{what} is not finite"
    summary += f" since step {first.since_step}"
    if len(names) > 1:
        summary += f", {len(names) - 1} more after it"
    if reach is not None:
        summary += f"; before, at step {finite_step}, at most {number(reach)}"
    return Finding(
        where=names[:MOST_NAMES],
        summary=summary,
        evidence=evidence(
            formula="count of NaN, +Inf and -Inf elements > 0, in the first tensor in execution order",
            numbers={
                "tensor": first.name, "kind": what, "not_finite": _count(view, first), "tensors": len(names),
                "dtype": dtype, "last_finite_step": finite_step, "last_min": low, "last_max": high,
                "headroom": headroom, "loss": sample.loss, "lr": list(sample.lr),
                "loss_scale": sample.loss_scale, "input_extremes": _input_extremes(view),
            },
            window=(first.since_step, sample.step),
            normal="0 in every tensor; a step that a loss scaler skips does not count",
            series=("loss", "nonfinite"),
            hypotheses=_hypotheses(first.stage, dtype, headroom),
        ),
        advice=_ADVICE[first.stage],
        since_step=first.since_step,
        stage=first.stage,
    )  # fmt: skip


def _kind(view: View, culprit: _Culprit) -> str:
    if culprit.row is None or view.layout is None:
        return culprit.name
    return view.layout.tensors[culprit.row].kind.value.replace("_", " ")


def _count(view: View, culprit: _Culprit) -> int | None:
    if culprit.row is None:
        return None
    return int(view.tensors("nonfinite", np.array([culprit.row]), 1).values[-1, 0])


def _last_finite(view: View, culprit: _Culprit) -> tuple[str | None, float | None, float | None, int | None]:
    """Dtype, min and max of the culprit when it was last finite, and that step."""
    if culprit.row is None or view.layout is None:
        series = view.scalar(culprit.name).present
        sound = np.flatnonzero(np.isfinite(series.values))
        if not len(sound):
            return None, None, None, None
        value = float(series.values[sound[-1]])
        return None, value, value, int(series.steps[sound[-1]])
    dtype = view.layout.tensors[culprit.row].dtype
    step, low, high = view.extremes(np.array([culprit.row]))
    if step[0] < 0:
        return dtype, None, None, None
    return dtype, float(low[0]), float(high[0]), int(step[0])


def _input_extremes(view: View) -> list[float] | None:
    """Extremes of the batch, where it was finite at this very step."""
    rows = view.rows_of(TensorKind.INPUT)
    if not len(rows):
        return None
    step, low, high = view.extremes(rows)
    fresh = step == view.sample.step
    return [float(low[fresh].min()), float(high[fresh].max())] if fresh.any() else None


def _hypotheses(stage: Stage, dtype: str | None, headroom: float | None) -> list[Hypothesis]:
    found: list[Hypothesis] = []
    if dtype == "float16" or (headroom is not None and headroom < 1e3):
        found.append(("overflow of the data type", "the headroom shrank towards 1 before; bfloat16 is fine"))
    return found + list(_HYPOTHESES[stage])


_HYPOTHESES: dict[Stage, tuple[Hypothesis, ...]] = {
    Stage.DATA: (("the batch itself holds NaN or infinities", "look at the sample that was read at that "
    "step"),),
    Stage.FORWARD: (
        ("the layer divides by zero or takes a root or logarithm outside its domain", "its input is finite"),
        ("its weights blew up at a step that was not observed", "weights are not finite either; watch "
        "every step"),
    ),
    Stage.LOSS: (
        ("logarithm of 0, or a mean over no element", "activations are finite, the loss is not"),
    ),
    Stage.BACKWARD: (
        ("derivative of a root, norm or logarithm at 0", "forward and loss are finite, this gradient is not"),
        ("gradients overflowed", "their norm grew before"),
    ),
    Stage.UPDATE: (
        ("the update overflowed: learning rate or optimizer state", "gradients are finite, the weights "
        "are not"),
    ),
}  # fmt: skip

_ADVICE = {
    Stage.DATA: "Check the batch: drop or impute such samples, and assert torch.isfinite in the data set.",
    Stage.FORWARD: "Look at what this layer computes: add an epsilon to divisions, roots and logarithms; "
    "in float16 use bfloat16 or keep this layer in float32.",
    Stage.LOSS: "Use the loss on logits (cross_entropy, binary_cross_entropy_with_logits), clamp before a "
    "logarithm, and check for batches in which every target is ignored.",
    Stage.BACKWARD: "Add an epsilon inside roots and norms, clip gradients, lower the learning rate.",
    Stage.UPDATE: "Lower the learning rate, clip gradients, raise the optimizer's eps.",
}

NONFINITE = Rule(
    id="nonfinite",
    stage=Stage.FORWARD,
    needs=(),
    severity=Severity.CRITICAL,
    patience=1,
    clear_patience=3,
    judge=_judge,
    blinds=True,
    causes=frozenset({"vanishing_gradient", "exploding_gradient", "dead_neurons", "diverging_loss"}),
    explain=Explanation(
        meaning="NaN or an infinity reached the loss, a gradient or a weight. From there it spreads to "
        "everything: the run is lost. The tensor named is the first one in execution order, forward "
        "before backward, at the step where it was first seen.",
        formula="NaN + Inf + -Inf elements of a tensor > 0. Headroom: largest finite value of the data "
        "type over the largest magnitude when last finite. Steps that a loss scaler skipped, and "
        "infinities that reach no gradient (attention masks), are not alarms.",
        sources=(
            "Micikevicius et al. 2018, Mixed Precision Training (dynamic loss scaling skips steps)",
            "IEEE 754-2019 (ranges of the data types)",
        ),
        try_next=tuple(_ADVICE.values()),
    ),
)
