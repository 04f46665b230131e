"""`exploding_gradient`: gradients grow without bound, over time or towards the input, and do harm."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tuimon.records.alert import Severity
from tuimon.rules.depth import chains
from tuimon.rules.evidence import MOST_NAMES, Hypothesis, evidence, number
from tuimon.rules.growth import HISTORY, NOW, grew, jumped, risen
from tuimon.rules.loss import Loss, loss_of
from tuimon.rules.robust import masked_median, rank_correlation, slope, trailing_run
from tuimon.rules.rule import HEALTHY, Abstain, Explanation, Finding, Findings, Firing, Rule, Stage, Verdict
from tuimon.rules.series import Flags, Floats, Series, TensorSeries
from tuimon.rules.view import View

#: Samples looked at.
_WINDOW = 96
#: Depth: growth per weight towards the input (TheDeepChecker: > 2), in all (AUTOTRAINER: > 70), weights.
_PER_LAYER, _IN_ALL, _DEPTH = 2.0, 70.0, 5
#: Relative to the weights: an update that replaces the weight, by a gradient larger than the weight.
_REPLACES, _LARGER = 1.0, 1.0
#: Above this an update ratio is harm in itself (TheDeepChecker: 1e-1).
_HARM_UPDATE = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class _Case:
    """One way in which gradients explode, found in the data."""

    how: str
    formula: str
    normal: str
    numbers: dict[str, object]
    where: tuple[str, ...]
    since_step: int | None


def _judge(view: View, firing: Firing) -> Verdict:
    series = _norms(view).present
    if not len(series):
        return Abstain("gradient norms are not measured")
    loss = loss_of(view)
    case = _over_time(view, series, loss, firing)
    case = case or _over_depth(view, firing) or _over_weights(view, firing)
    return HEALTHY if case is None else Findings((_finding(view, case, loss, series),))


def _norms(view: View) -> Series:
    """The gradient norm before clipping where it is known, since clipping hides the growth.

    Under a loss scaler the norm before the optimizer may still carry the scale: then the applied one.
    """
    if view.sample.loss_scale is None:
        before = view.scalar("grad_norm_preclip", _WINDOW)
        if before.measured[-NOW:].all() and len(before) >= NOW:
            return before
    return view.scalar("grad_norm", _WINDOW)


def _over_time(view: View, series: Series, loss: Loss | None, firing: Firing) -> _Case | None:
    values = np.where(np.isfinite(series.values), series.values, np.inf)
    logs: Floats = np.log(np.clip(values, 1e-300, 1e300))
    high, base = jumped(logs, held=bool(firing))
    run = trailing_run(high)
    how = "jumped"
    if run < NOW:
        run, how, base = grew(logs), "grew", float(np.min(logs))
    if not run:
        return None
    since = int(series.steps[-risen(logs, run, base)])
    if not _harms(view, loss, since, float(logs[-1] - base)):
        return None
    return _Case(
        how=f"gradient norm {how} to {number(float(np.exp(min(700.0, logs[-1] - base))))} times its level",
        formula="log norm against median + max(log 10, 6 * 1.4826 * MAD) of the samples before, four in a "
        "row; or its least-squares slope over 12 samples >= log 10 / 12 with R2 >= 0.8; and loss or "
        "weights suffer",
        normal="below 10 times the median, or rising with a loss that falls",
        numbers={"grad_norm": float(series.values[-1]), "median_before": float(np.exp(base)), "samples": run},
        where=_grown(view, run),
        since_step=since,
    )


def _harms(view: View, loss: Loss | None, since: int, rise: float) -> bool:
    """Effect before form: a norm may grow while a model learns well."""
    if loss is not None and len(loss) >= 2:
        return loss.rises(loss.before(since), share=0.1)
    weights = chains(view)[0].weights if view.layout is not None else np.zeros(0, np.int64)
    updates = view.tensors("update_ratio", weights, NOW)
    if updates.measured.any():
        moves = masked_median(updates.values, updates.measured, axis=0)
        return bool(np.nanmax(moves) > _HARM_UPDATE)
    # Neither the loss nor the updates are seen: only what cannot be anything else.
    return bool(rise > np.log(1e3))


def _grown(view: View, run: int) -> tuple[str, ...]:
    """Weights whose own gradient grew most of that, in execution order; empty when rows are not seen."""
    if view.layout is None:
        return ()
    names: list[str] = []
    for chain in chains(view):
        gradients = view.tensors("rms", chain.gradients, _WINDOW)
        if not len(gradients.steps) or not len(chain):
            continue
        split = max(1, len(gradients.steps) - run)
        before = masked_median(gradients.values[:split], gradients.measured[:split], axis=0)
        now = masked_median(gradients.values[-2:], gradients.measured[-2:], axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            rise = now / before
        best = np.nanmax(rise) if not np.isnan(rise).all() else np.nan
        names += [chain.names[i] for i in np.flatnonzero((rise >= 3.0) & (rise >= best / 10.0))]
    return tuple(names)


def _over_depth(view: View, firing: Firing) -> _Case | None:
    """Growing through the layers towards the input, more than twofold each.

    Either the gradients of the weights do, or those that arrive at the layers' outputs: where activations
    grow towards the output as fast as the signal grows towards the input, the first stay level.
    """
    if view.layout is None:
        return None
    for chain in chains(view):
        for rows, of in ((chain.gradients, "weights"), (chain.outputs, "outputs")):
            known = rows >= 0
            if known.sum() < _DEPTH:
                continue
            places = np.flatnonzero(known)
            gradients = view.tensors("rms", rows[places], NOW)
            case = _profile_case(gradients, [chain.names[i] for i in places], of, firing)
            if case is not None:
                return case
    return None


def _profile_case(gradients: TensorSeries, names: list[str], of: str, firing: Firing) -> _Case | None:
    profile = masked_median(gradients.values, gradients.measured, axis=0)
    usable = np.flatnonzero(np.isfinite(profile) & (profile > 0))
    if len(usable) < _DEPTH:
        return None
    logs = np.log(profile[usable])
    growth = float(np.exp(-slope(logs)[0]))
    in_all = float(np.exp(min(700.0, logs[0] - logs[-1])))
    kept = not firing.isdisjoint(names)
    if growth < _PER_LAYER * (0.8 if kept else 1.0) or in_all < _IN_ALL or rank_correlation(logs) > -0.8:
        return None
    worst = max(1, int(np.sum(logs >= logs.max() - np.log(10.0))))
    high: Flags = gradients.values[:, usable[0]] > _IN_ALL * gradients.values[:, usable[-1]]
    return _Case(
        how=f"gradients of {of} grow {number(growth)} times per layer towards the input, "
        f"{number(in_all)} in all",
        formula="exp of minus the least-squares slope over depth of log median RMS(gradient), of weights or "
        "of their layers' outputs",
        normal="below 2 per layer and 70 in all",
        numbers={"growth_per_layer": growth, "growth_in_all": in_all, "weights": len(usable), "of": of},
        where=tuple(names[i] for i in usable[:worst]),
        since_step=int(gradients.steps[-max(1, trailing_run(high))]),
    )


def _over_weights(view: View, firing: Firing) -> _Case | None:
    """Larger than the weights themselves, and updates that replace those, from the first step on or later."""
    if view.layout is None:
        return None
    for chain in chains(view):
        updates = view.tensors("update_ratio", chain.weights)
        if not len(updates.steps) or not len(chain):
            continue
        gradients = view.tensors("rms", chain.gradients)
        weights = view.tensors("rms", chain.weights)
        bar = _REPLACES * (0.3 if not firing.isdisjoint(chain.names) else 1.0)
        measured = updates.measured & gradients.measured & weights.measured
        # A weight of zeros (a fresh head, an adapter) is replaced once, by design.
        replaced = measured & (updates.values > bar) & (gradients.values > _LARGER * weights.values)
        replaced &= weights.values > 0
        steady: Flags = np.all(replaced[-NOW:], axis=0)
        if not steady.any():
            continue
        any_replaced: Flags = np.any(replaced[:, steady], axis=1)
        run = trailing_run(any_replaced)
        middle = float(np.median(updates.values[-1, steady]))
        return _Case(
            how=f"gradients outgrow the weights: updates of {number(middle)} times the weight",
            formula="||dw|| / ||w|| > 1 and RMS(gradient) > RMS(weight), four samples in a row",
            normal="update ratio 1e-3 to 1e-2, gradients below the weights",
            numbers={"update_ratio": middle, "weights": int(steady.sum())},
            where=tuple(chain.names[i] for i in np.flatnonzero(steady)),
            since_step=int(updates.steps[-run]),
        )
    return None


def _finding(view: View, case: _Case, loss: Loss | None, series: Series) -> Finding:
    since = case.since_step if case.since_step is not None else view.sample.step
    numbers = {
        **case.numbers, "loss": view.sample.loss, "loss_before": None if loss is None else loss.before(since),
        "lr": list(view.sample.lr), "affected": len(case.where),
    }  # fmt: skip
    return Finding(
        where=case.where[:MOST_NAMES],
        summary=f"{case.how}, since step {since}",
        evidence=evidence(
            formula=case.formula,
            numbers=numbers,
            window=(int(series.steps[0]), view.sample.step),
            normal=case.normal,
            series=("grad_norm", "grad_norm_preclip", "gradient_rms", "update_ratio", "loss"),
            hypotheses=_HYPOTHESES,
        ),
        advice="Clip the gradient norm, lower the learning rate, check the initialisation (gain) and "
        "normalise inputs and targets; in recurrent networks shorten the unrolled length.",
        since_step=since,
        severity=_severity(loss),
    )


def _severity(loss: Loss | None) -> Severity:
    """A warning while the loss comes down all the same, or while it is too early to tell."""
    if loss is None:
        return Severity.CRITICAL
    early = len(loss) < HISTORY and np.isfinite(loss.now) and not loss.rises(loss.start, share=0.1)
    return Severity.WARNING if early or loss.improves() else Severity.CRITICAL


_HYPOTHESES: tuple[Hypothesis, ...] = (
    ("initialisation too large for the depth", "the profile grows towards the input from the first step on"),
    ("a step too large threw the weights out", "update ratio or learning rate rose just before"),
    ("targets or inputs are not normalised", "the loss started orders of magnitude above its usual size"),
    ("a recurrent product of many factors", "the recurrent weight's gradient dominates"),
)

EXPLODING_GRADIENT = Rule(
    id="exploding_gradient",
    stage=Stage.BACKWARD,
    needs=("grad_norm",),
    severity=Severity.CRITICAL,
    patience=3,
    clear_patience=8,
    judge=_judge,
    causes=frozenset(
        (
            "nonfinite",
            "dead_neurons",
            "lr_too_high",
            "saturated_activation",
            "diverging_loss",
            "loss_spike",
            "clipping_always_on",
            "weight_growth",
        )
    ),
    explain=Explanation(
        meaning="Gradients are huge for this run's own history, grow without bound, grow from layer to layer "
        "towards the input, or are larger than the weights that they change; and the loss or the weights "
        "suffer. Rare spikes that recover, norms that change with warm-up or while the loss falls, and "
        "losses scaled for mixed precision are no explosion.",
        formula="one of: log norm > median + max(log 10, 6 * 1.4826 * MAD) four samples in a row; slope "
        "of the "
        "log norm >= log(10) / 12 samples with R2 >= 0.8; growth towards the input > 2 per weight and > "
        "70 in "
        "all, of weights or of layer outputs; ||dw||/||w|| > 1 with RMS(gradient) > RMS(weight). The "
        "first two need a loss that rises "
        "by more "
        "than 10 % and 4 deviations of its noise.",
        sources=(
            "Pascanu, Mikolov, Bengio 2013, On the difficulty of training recurrent neural networks",
            "Zhang et al. 2021, AUTOTRAINER: first / last gradient > 70",
            "Ben Braiek and Khomh 2023, TheDeepChecker: growth per layer > 2, update ratio > 1e-1",
            "Huang et al. 2025, ZClip: robust scores on gradient norms; median and MAD here, since a mean "
            "inflates after one spike",
        ),
        try_next=(
            "Clip the gradient norm (torch.nn.utils.clip_grad_norm_).",
            "Lower the learning rate, or warm it up.",
            "Initialise smaller, normalise inputs, targets and activations.",
        ),
    ),
)
