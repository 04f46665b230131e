"""`vanishing_gradient`: the signal dies on its way to the input, and the early layers stand still."""

from __future__ import annotations

import numpy as np

from tuimon.records.alert import Severity
from tuimon.rules.depth import Weights, chains
from tuimon.rules.evidence import MOST_NAMES, evidence, number
from tuimon.rules.robust import masked_median, rank_correlation, trailing_run
from tuimon.rules.rule import Abstain, Explanation, Finding, Findings, Firing, Rule, Stage, Verdict
from tuimon.rules.series import Floats, Integers, TensorSeries
from tuimon.rules.view import View

#: Samples looked at, samples needed, and weights that make a depth.
_WINDOW, _NEEDED, _DEPTH = 32, 4, 4
#: Samples that make the present.
_NOW = 8
#: Early against late gradients, in decades. AUTOTRAINER: first / last < 1e-3. The lower bar once it fires.
_FIRE, _HOLD = -3.0, -2.5
#: How far early updates must be below late ones, and below what they count as standing still. A healthy
#: update ratio is about 1e-3 (cs231n notes), and 1e-5 is suspicious by itself (TheDeepChecker); a layer
#: that gets 1e-4 and a hundredth of the others is left behind.
_BEHIND, _STILL = 1e-2, 1e-4
#: The decay must go through the layers: falling in rank, and no single place with most of it. A cut at one
#: place (a dead or saturated layer, a part with a loss of its own) is another fault.
_MONOTONE, _ONE_PLACE = 0.7, 0.75
#: Stands for a gradient of exact zeros: below the smallest float32.
_FLOOR = 1e-46


def _judge(view: View, firing: Firing) -> Verdict:
    found: list[Finding] = []
    reasons: list[str] = []
    for chain in chains(view):
        if len(chain) < _DEPTH:
            reasons.append(f"only {len(chain)} weight matrices in a row; a depth profile needs {_DEPTH}")
            continue
        answer = _judge_chain(view, chain, firing)
        if isinstance(answer, str):
            reasons.append(answer)
        elif answer is not None:
            found.append(answer)
        else:
            reasons.append("")
    if not found and reasons and all(reasons):
        return Abstain(reasons[0])
    return Findings(tuple(found))


def _judge_chain(view: View, chain: Weights, firing: Firing) -> Finding | str | None:
    """A finding, None when healthy, or why it cannot be judged."""
    gradients = view.tensors("rms", chain.gradients, _WINDOW)
    updates = view.tensors("update_ratio", chain.weights, _NOW)
    seen = gradients.measured[-_NOW:].any(axis=0) & updates.measured.any(axis=0)
    if len(gradients.steps) < _NEEDED:
        return f"only {len(gradients.steps)} observed steps of {_NEEDED}"
    if seen.sum() < _DEPTH:
        return f"gradients and updates of only {int(seen.sum())} weight matrices are seen"
    places = np.flatnonzero(seen)
    chain = chain.pick(places)
    logs = _logs(gradients)[:, places]
    profile = np.median(logs[-_NOW:], axis=0)
    moves = masked_median(updates.values, updates.measured, axis=0)[places]
    part = max(1, len(chain) // 4)
    if profile[-part:].max() <= np.log10(_FLOOR) or not moves[-part:].max() > 0:
        return "the last layers get no gradient or do not move either"
    late, late_moves = float(np.median(profile[-part:])), float(np.median(moves[-part:]))
    bar = _HOLD if not firing.isdisjoint(chain.names) else _FIRE
    still = moves < min(_STILL, _BEHIND * late_moves)
    early = float(np.median(profile[:part]))
    if early >= late + bar or not still[:part].all() or not _decays(profile):
        return None
    weak = still & (profile < late + bar)
    ratios = np.median(logs[:, :part], axis=1) - np.median(logs[:, -part:], axis=1)
    run = trailing_run(ratios < bar)
    since = int(gradients.steps[-run]) if run else None
    return _finding(chain, profile, moves, np.flatnonzero(weak), part, gradients, since)


def _decays(profile: Floats) -> bool:
    """Whether the profile falls towards the input layer by layer."""
    zero = profile <= np.log10(_FLOOR)
    # How far exact zeros lie below the rest is unknown; they must not look like the one big cut.
    known = np.where(zero, profile[~zero].min() - 1.0, profile)
    drops = np.diff(known)
    return rank_correlation(known) >= _MONOTONE and bool(drops.max() <= _ONE_PLACE * (known.max() - known[0]))


def _logs(gradients: TensorSeries) -> Floats:
    """float64[t, k]: log10 of the RMS. A step without a row, or with NaN, repeats the profile's median."""
    rms = gradients.values.astype(np.float64)
    usable = gradients.measured & np.isfinite(rms)
    logs: Floats = np.log10(np.maximum(np.where(usable, rms, 1.0), _FLOOR))
    usual = masked_median(logs, usable, axis=0)
    return np.where(usable, logs, np.where(np.isnan(usual), np.log10(_FLOOR), usual))


def _finding(
    chain: Weights, profile: Floats, moves: Floats, weak: Integers, part: int, gradients: TensorSeries,
    since: int | None,
) -> Finding:  # fmt: skip
    names = tuple(chain.names[int(i)] for i in weak)
    late = float(np.median(profile[-part:]))
    ratio = 10.0 ** (float(np.median(profile[:part])) - late)
    decay = 10.0 ** ((float(profile[0]) - late) / max(1, len(chain) - 1))
    late_moves = float(np.median(moves[-part:]))
    return Finding(
        where=names[:MOST_NAMES],
        summary=f"{len(names)} of {len(chain)} weights do not learn: the gradient at {names[0]} is "
        f"{number(ratio)} of that near the output ({number(decay)} per layer), update ratio "
        f"{number(float(moves[0]))} against {number(late_moves)}",
        evidence=evidence(
            formula="median RMS gradient of the first quarter of the weights / that of the last quarter, "
            "and ||dw|| / ||w|| of the first ones",
            numbers={
                "gradient_ratio": ratio, "decay_per_layer": decay, "update_ratio_early": float(moves[0]),
                "update_ratio_late": late_moves, "weights": len(chain), "affected": len(names),
                "profile_log10": [round(float(value), 2) for value in profile],
            },
            window=(int(gradients.steps[-min(_NOW, len(gradients.steps))]), int(gradients.steps[-1])),
            normal=f"ratio above 1e{int(_FIRE)}, or early updates above {_STILL:g}",
            series=("gradient_rms", "update_ratio"),
            hypotheses=(
                ("saturating activations (sigmoid, tanh) in a deep stack", "their derivative is small: "
                "see layers"),
                ("initialisation too small for the depth", "activations shrink from layer to layer as well"),
                ("no path around the layers", "a residual connection or normalisation lifts the profile"),
            ),
        ),
        advice="Use ReLU-like activations with matching (He) initialisation, add normalisation or residual "
        "connections, or make the network shallower; an adaptive optimizer hides it only in part.",
        since_step=since,
    )  # fmt: skip


VANISHING_GRADIENT = Rule(
    id="vanishing_gradient",
    stage=Stage.BACKWARD,
    needs=("gradient_rms", "update_ratio"),
    severity=Severity.CRITICAL,
    patience=4,
    clear_patience=8,
    judge=_judge,
    causes=frozenset({"plateau", "lr_too_low", "param_not_updated", "class_collapse", "input_ignored"}),
    explain=Explanation(
        meaning="Layers near the input get a gradient orders of magnitude below that of layers near the "
        "output, and do not move. They stay what they were at initialisation. Tiny gradients alone are no "
        "fault: an adaptive optimizer may move such a layer at full speed, and near an optimum the "
        "gradients of all layers shrink together.",
        formula="median over the last 8 samples of log10 RMS(gradient) per weight, in execution order; "
        "first quarter minus last quarter < -3 (clears above -2.5), falling through the layers (rank "
        "correlation > 0.7), while ||dw||/||w|| of the first ones is below 1e-4 and a hundredth of the "
        "others'. Biases, norms, embeddings and frozen parameters are left out.",
        sources=(
            "Bengio, Simard, Frasconi 1994; Hochreiter 1991; Glorot and Bengio 2010",
            "Zhang et al. 2021, AUTOTRAINER: first / last gradient < 1e-3",
            "Ben Braiek and Khomh 2023, TheDeepChecker: decay per layer < 0.5, update ratio < 1e-5",
            "cs231n notes: update : weight about 1e-3",
        ),
        try_next=(
            "Replace sigmoid and tanh by ReLU, GELU or SiLU.",
            "Initialise for the activation (He for ReLU, Xavier for tanh).",
            "Add residual connections or normalisation.",
        ),
    ),
)
