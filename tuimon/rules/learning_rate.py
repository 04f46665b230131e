"""`lr_too_high`: steps so long that the loss cannot come down."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tuimon.records.alert import Severity
from tuimon.rules.depth import by_turns, deep_weights
from tuimon.rules.evidence import MOST_NAMES, evidence, number
from tuimon.rules.loss import Loss, loss_of
from tuimon.rules.robust import masked_median, trailing_run
from tuimon.rules.rule import HEALTHY, Abstain, Explanation, Finding, Findings, Firing, Rule, Stage, Verdict
from tuimon.rules.series import Flags, Floats, Integers
from tuimon.rules.view import View

#: Samples looked at, samples that make the present, and a run of long steps under which a loss should have
#: moved: by then a training that learns 1 % a step shows it through 5 % of noise.
_WINDOW, _NOW, _RUN = 64, 8, 12
#: Update ratio (median over weights) that is far above the healthy 1e-3..1e-2 (cs231n notes;
#: TheDeepChecker: 1e-1 is suspicious), the lower bar once it fires, the one from which a single update
#: may throw the loss out, and the one that an overshoot needs beside its alternating loss.
_HIGH, _HOLD, _THROW, _OVERSHOOT = 0.1, 0.05, 0.3, 0.03
#: A loss that stays above this share of where it started has hardly been learned.
_UNLEARNED = 0.3
#: An alert holds while the loss has not come down by this share of where it started.
_LOST = 0.05
#: Overshoot: neighbouring differences of opposite sign (white noise: 2 of 3), over this many samples,
#: by this share of all that was gained so far.
_ALTERNATES, _SWINGS, _SWING_SHARE = 0.9, 16, 0.25
#: A rate that rose by this factor within the last samples is a warm-up or a restart: wait for its end.
_ROSE, _GRACE = 1.5, 8


@dataclass(frozen=True, slots=True, eq=False)
class _Steps:
    """Median update ratio of the weights, by observed step."""

    steps: Integers
    #: float64[t]; NaN where it was not measured or is none.
    ratios: Floats
    #: float64[k]: of each weight, over the newest samples that have it.
    by_weight: Floats


@dataclass(frozen=True, slots=True, eq=False)
class _Case:
    """One way in which too high a rate shows."""

    how: str
    since_step: int
    ratio: float


def _judge(view: View, firing: Firing) -> Verdict:
    if by_turns(view):
        return Abstain("several losses pull in turn: their curves need not fall")
    loss = loss_of(view)
    if loss is None or len(loss) < 2:
        return Abstain("fewer than 2 losses seen")
    if not len(view.per_layout(deep_weights)):
        return Abstain("no weight matrix is observed")
    taken = _taken(view)
    if np.isnan(taken.ratios).all():
        return Abstain("update ratios are not measured")
    case = _thrown(loss, taken) or _stuck(view, loss, taken, firing) or _overshoots(view, loss, taken)
    if case is None and not np.isfinite(loss.now):
        return Abstain("the loss is not finite")
    if case is None and firing and loss.now > loss.start - _LOST * abs(loss.start):
        # What threw it out may have left the window; the run is as lost as before.
        case = _Case("the loss has not come back", int(taken.steps[0]), float(np.nanmax(taken.ratios)))
    return HEALTHY if case is None else Findings((_finding(view, case, loss, taken, firing),))


def _taken(view: View) -> _Steps:
    weights = view.per_layout(deep_weights).weights
    updates = view.tensors("update_ratio", weights, _WINDOW)
    ratios = masked_median(updates.values, updates.measured, axis=1)
    by_weight = masked_median(updates.values[-_NOW:], updates.measured[-_NOW:], axis=0)
    return _Steps(updates.steps, ratios, by_weight)


def _thrown(loss: Loss, taken: _Steps) -> _Case | None:
    """One or a few very long steps, a loss that jumps right after, and does not come back."""
    long = np.flatnonzero(np.nan_to_num(taken.ratios, nan=0.0) >= _THROW)
    if not len(long):
        return None
    first = int(taken.steps[long[0]])
    before = loss.before(first)
    after = loss.values[loss.steps > first]
    if not len(after) or not np.isfinite(before):
        return None
    # The jump must be larger than noise and half of the level, and most of what came after stays above.
    bar = before + max(10.0 * _noise_before(loss, first), 0.5 * abs(before))
    jumped = after[: 2 * _NOW].max() > bar
    if not jumped or loss.now < before - 2.0 * _noise_before(loss, first) - 0.1 * abs(before):
        return None
    ratio = float(taken.ratios[long].max())
    # It began with the first of the long steps that led up to that one.
    onset = long[0] + 1 - trailing_run(np.nan_to_num(taken.ratios[: long[0] + 1], nan=0.0) >= _HIGH)
    return _Case(
        "thrown out by long steps: the loss jumped and did not come back", int(taken.steps[onset]), ratio
    )


def _noise_before(loss: Loss, step: int) -> float:
    values = loss.values[loss.steps <= step][-_WINDOW:]
    finite = values[np.isfinite(values)]
    return 1.4826 * float(np.median(np.abs(np.diff(finite)))) if len(finite) > 2 else 0.0


def _stuck(view: View, loss: Loss, taken: _Steps, firing: Firing) -> _Case | None:
    """Long steps on end, under which the loss rises or stands far above what was learnt."""
    bar = _HOLD if firing else _HIGH
    high: Flags = np.nan_to_num(taken.ratios, nan=np.inf) >= bar
    run = _run(high)
    if run < _RUN or (not firing and _rate_rose(view)):
        return None
    since = int(taken.steps[-run])
    learned = loss.start > 0 and loss.now < _UNLEARNED * loss.start
    if np.isfinite(loss.now) and (learned or _falls(loss, run)):
        return None
    known = taken.ratios[-run:][~np.isnan(taken.ratios[-run:])]
    ratio = float(np.median(known)) if len(known) else float("inf")
    rises = loss.rises(loss.before(since), share=0.05)
    how = "the loss rises under long steps" if rises else "the loss does not come down under long steps"
    return _Case(how, since, ratio)


def _run(high: Flags) -> int:
    """Newest samples of which nearly all are high: one in eight may miss."""
    run = trailing_run(high)
    while run < len(high):
        gap = trailing_run(~high[: len(high) - run])
        further = trailing_run(high[: len(high) - run - gap])
        if gap > 1 or further < _NOW - 1:
            break
        run += gap + further
    return run


def _falls(loss: Loss, run: int) -> bool:
    """Whether the newer half of the run stands below the older half by more than noise makes of it."""
    values = loss.values[-min(run, 4 * _NOW) :]
    half = len(values) // 2
    older, newer = float(np.median(values[:half])), float(np.median(values[half:]))
    if not np.isfinite(older):
        return bool(np.isfinite(newer))
    # The standard error of a median is 1.25 times that of a mean; two medians, two deviations.
    chance = 2.0 * 1.25 * loss.noise * float(np.sqrt(2.0 / half))
    return older - newer > max(chance, 0.005 * abs(older))


def _rate_rose(view: View) -> bool:
    rates = view.scalar("lr", _GRACE + 1).present.values
    return len(rates) > 1 and bool(rates[-1] > _ROSE * rates.min()) and rates[-1] > 0


def _overshoots(view: View, loss: Loss, taken: _Steps) -> _Case | None:
    """Up and down at every step, by a good part of all that was gained: beyond the edge of stability."""
    values = loss.values[-_SWINGS:]
    if len(values) < _SWINGS or not np.isfinite(values).all() or _rate_rose(view):
        return None
    ratio = float(np.nanmedian(taken.ratios[-_SWINGS:]))
    # Only neighbouring steps overshoot one another; between samples far apart the sign says nothing.
    if not ratio >= _OVERSHOOT or np.median(np.diff(loss.steps[-_SWINGS:])) > 1:
        return None
    moves = np.diff(values)
    alternates = float(np.mean(moves[1:] * moves[:-1] < 0))
    gained = max(loss.start - loss.best, 1e-3 * abs(loss.start))
    if alternates < _ALTERNATES or float(np.median(np.abs(moves))) < _SWING_SHARE * gained:
        return None
    return _Case("the loss swings up and down with every step", int(loss.steps[-_SWINGS]), ratio)


def _finding(view: View, case: _Case, loss: Loss, taken: _Steps, firing: Firing) -> Finding:
    names = view.per_layout(deep_weights).names
    ratios = np.nan_to_num(taken.by_weight, nan=np.inf)
    long = np.flatnonzero(ratios >= min(_HIGH, case.ratio))
    # One rate, one fault: whatever else is thrown about later, it stays the alert that fires.
    known = [name for name in names if name in firing]
    where = tuple(dict.fromkeys([*known, *(names[i] for i in long)])) or names[:1]
    rate = next((value for value in view.sample.lr if value is not None), None)
    far_up = loss.now - loss.start > 0.5 * abs(loss.start)
    lost = far_up or not np.isfinite(loss.now) or loss.rises(loss.start, share=0.05)
    factor = 10.0 ** np.ceil(np.log10(min(max(case.ratio / 0.01, 3.0), 1e4)))
    return Finding(
        where=where[:MOST_NAMES],
        summary=f"{case.how}: steps change the weights by {number(case.ratio)} of themselves (learning rate "
        f"{number(rate)}), loss {number(loss.now)} against {number(loss.start)} at first, "
        f"{number(loss.best)} at best",
        evidence=evidence(
            formula="median over weights of ||dw|| / ||w||, with a loss that jumps, rises, swings or "
            "stays up",
            numbers={
                "update_ratio": case.ratio, "lr": list(view.sample.lr), "loss": view.sample.loss,
                "loss_level": loss.now, "loss_start": loss.start, "loss_best": loss.best,
                "loss_before": loss.before(case.since_step), "noise": loss.noise,
                "optimizers": [] if view.hello is None else list(view.hello.optimizers),
                "affected": len(where),
            },
            window=(int(taken.steps[0]), view.sample.step),
            normal="1e-3 to 1e-2 for weights; above 0.1 only while the loss falls",
            series=("update_ratio", "loss", "lr"),
            hypotheses=(
                ("the learning rate is too high", f"about {number(factor)} times less lets the loss fall"),
                ("it lacks a warm-up", "the same rate works when it is reached over some hundred steps"),
                ("gradients are too large for it", "clipping the gradient norm calms it"),
            ),
        ),
        advice=f"Lower the learning rate, about {number(factor)} times; or warm it up, or clip the "
        "gradient norm. "
        "Weights that were thrown out rarely recover: start again from an earlier checkpoint.",
        since_step=case.since_step,
        severity=Severity.CRITICAL if lost else Severity.WARNING,
    )  # fmt: skip


LR_TOO_HIGH = Rule(
    id="lr_too_high",
    stage=Stage.UPDATE,
    needs=("loss", "update_ratio"),
    severity=Severity.WARNING,
    patience=4,
    clear_patience=12,
    judge=_judge,
    sees_through=True,
    causes=frozenset(
        (
            "nonfinite",
            "exploding_gradient",
            "dead_neurons",
            "saturated_activation",
            "diverging_loss",
            "loss_spike",
            "weight_growth",
            "plateau",
            "class_collapse",
        )
    ),
    explain=Explanation(
        meaning="Each step changes the weights by so much that the loss cannot come down: it jumps and stays "
        "up, rises, swings from step to step, or stands still far above what a lower rate would reach. Long "
        "steps alone are no fault while the loss falls; nor is a loss that stands still under short ones.",
        formula="u = median over weights of ||dw||/||w||. One of: u >= 0.3 at some step, then a loss "
        "above its "
        "level before by half of it and 10 deviations of noise, not come back; u >= 0.1 for 12 samples "
        "(holds "
        "from 0.05) with a loss that does not fall and is above 30 % of its start; u >= 0.03 with 9 of 10 "
        "neighbouring loss differences opposed, by a quarter of all gained so far. A rate that is just "
        "rising "
        "(warm-up, restart) waits; several losses by turns (GANs) are not judged.",
        sources=(
            "cs231n notes: update : weight about 1e-3",
            "Ben Braiek and Khomh 2023, TheDeepChecker: log10 of it outside [-4, -1] is suspicious",
            "Cohen et al. 2021, Gradient descent on neural networks typically occurs at the edge of "
            "stability",
        ),
        try_next=(
            "Lower the learning rate by 3 to 10 times.",
            "Warm it up over some hundred steps.",
            "Clip the gradient norm.",
        ),
    ),
)
