"""`dead_neurons`: units that no sample of many batches wakes up."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tuimon.records.alert import Severity
from tuimon.records.layout import Layout, TensorKind
from tuimon.rules.evidence import MOST_NAMES, evidence
from tuimon.rules.robust import trailing_run
from tuimon.rules.rule import HEALTHY, Abstain, Explanation, Finding, Findings, Firing, Rule, Stage, Verdict
from tuimon.rules.series import Flags, Integers, TensorSeries
from tuimon.rules.view import View

#: Observed batches below which silence proves nothing.
_BATCHES = 8
#: Outputs of a unit seen in the window. A unit that answers to 2 % of the inputs is silent in 128 of them
#: with probability 0.98**128 = 8 %, so half of a healthy layer never is.
_OUTPUTS = 128
#: Share of silent units that fires (SageMaker Debugger: 50 %), or that does when the layer had lost fewer
#: before; the share that holds it, once it fires.
_FIRE, _FIRE_AFTER_LOSS, _LOST, _HOLD = 0.5, 0.3, 0.25, 0.25
#: Units below which a share says little: then only a layer that is silent altogether counts.
_UNITS = 8
#: A layer that passes next to nothing on: the run is lost unless there is a way around it.
_BLOCKED = 0.95


@dataclass(frozen=True, slots=True, eq=False)
class _Units:
    """Layers whose units count as active when their output is positive, in execution order."""

    names: tuple[str, ...]
    #: int64[k]: activation rows, and units of each.
    rows: Integers
    channels: Integers
    #: bool[k]: the activation itself (a ReLU), not what comes before one.
    rectifies: Flags


def _units(layout: Layout) -> _Units:
    found: list[tuple[int, int]] = sorted(
        (t.layer, row)
        for row, t in enumerate(layout.tensors)
        if t.kind is TensorKind.ACTIVATION
        and t.layer is not None
        and layout.layers[t.layer].activity == "positive"
    )
    layers = [layout.layers[layer] for layer, _ in found]
    return _Units(
        tuple(layer.name for layer in layers),
        np.array([row for _, row in found], np.int64).reshape(-1),
        np.array([layer.channels or 0 for layer in layers], np.int64).reshape(-1),
        np.array(["relu" in layer.type.lower() for layer in layers], np.bool_).reshape(-1),
    )


def _judge(view: View, firing: Firing) -> Verdict:
    units = view.per_layout(_units)
    if not len(units.rows):
        return Abstain("no layer whose units rest at zero (ReLU-like) is observed")
    window = view.sample.dead_window
    if window < _BATCHES:
        return Abstain(f"only {window} observed batches of {_BATCHES}")
    series = view.tensors("dead_ratio", units.rows)
    seen = series.measured[-1]
    if not seen.any():
        return Abstain("dead units were not measured at this step")
    enough = _outputs(view, units, window) >= _OUTPUTS
    if not (seen & enough).any():
        return Abstain(f"fewer than {_OUTPUTS} outputs of each unit in {window} observed batches")
    silent = _silent(units, series, firing) & seen & enough
    if not silent.any():
        return HEALTHY
    return Findings((_finding(view, units, series, np.flatnonzero(silent), window),))


def _outputs(view: View, units: _Units, window: int) -> Integers:
    """Outputs of one unit in the batches of the window, by layer: an expert rarely used has seen few."""
    elements = view.tensors("elements", units.rows, window)
    seen = np.where(elements.measured, elements.values, 0).sum(axis=0)
    # The window may reach back before the first sample that is kept here: as dense as what is.
    whole = max(1.0, window / max(1, len(elements.steps)))
    outputs: Integers = (seen * whole / np.maximum(1, units.channels)).astype(np.int64)
    return outputs


def _silent(units: _Units, series: TensorSeries, firing: Firing) -> Flags:
    now = series.values[-1].astype(np.float64)
    lowest = np.where(series.measured, series.values, np.inf).min(axis=0)
    fires = (now >= _FIRE) | ((now >= _FIRE_AFTER_LOSS) & (now - lowest >= _LOST))
    small = (units.channels > 0) & (units.channels < _UNITS)
    fires = np.where(small, now >= 1.0, fires)
    held = np.array([name in firing for name in units.names], np.bool_)
    silent: Flags = fires | (held & (now >= _HOLD) & ~small) | (held & (now >= 1.0))
    return silent


def _finding(view: View, units: _Units, series: TensorSeries, layers: Integers, window: int) -> Finding:
    onsets = [_onset(series, int(i), window) for i in layers]
    # Which went silent first; then execution order. A layer before its own ReLU repeats what that one says.
    order = sorted(range(len(layers)), key=lambda place: (onsets[place], layers[place]))
    order = [place for place in order if not _repeats(units, int(layers[place]), layers)] or order
    first = int(layers[order[0]])
    share = float(series.values[-1, first])
    channels = int(units.channels[first])
    dead = round(share * channels)
    names = tuple(units.names[int(layers[place])] for place in order)
    of_units = f"{dead} of {channels} units" if channels else f"{100 * share:.0f} % of the units"
    also = f", and in {len(names) - 1} more layers" if len(names) > 1 else ""
    return Finding(
        where=names[:MOST_NAMES],
        summary=f"{of_units} ({100 * share:.0f} %) of {names[0]} silent for {window} observed batches{also}",
        evidence=evidence(
            formula="units without one output > 0 in any observed batch of the window / units",
            numbers={
                "dead_ratio": share, "dead_units": dead if channels else None, "units": channels or None,
                "batches": window, "layers": len(names),
                "by_layer": {units.names[int(layers[p])]: float(series.values[-1, int(layers[p])])
                             for p in order[:MOST_NAMES]},
                "lr": list(view.sample.lr),
            },
            window=(int(onsets[order[0]]), view.sample.step),
            normal=f"below {_FIRE:.0%}; zeros alone are no fault while every unit answers to some input",
            series=("dead_ratio", "activation_rms", "update_ratio"),
            hypotheses=(
                ("a step too large pushed the biases far below zero", "update ratio or loss jumped at "
                "that step"),
                ("initialisation: a large negative bias, or too small for the depth", "silent from the "
                "first batch on"),
                ("inputs far off centre", "the input's mean is many of its deviations away from 0"),
            ),
        ),
        advice="Lower the learning rate or warm it up, initialise biases at 0 and weights for ReLU "
        "(He), or use "
        "LeakyReLU, GELU or SiLU; units that are dead do not come back: reinitialise them.",
        since_step=onsets[order[0]],
        severity=Severity.CRITICAL if share >= _BLOCKED else None,
    )  # fmt: skip


def _onset(series: TensorSeries, layer: int, window: int) -> int:
    """The step since which the units have been silent.

    A unit counts once it was silent in the whole window, so what shows at a sample began a window before.
    """
    measured = series.measured[:, layer]
    steps, values = series.steps[measured], series.values[measured, layer]
    bar = min(_FIRE, 0.75 * float(values[-1]))
    place = len(values) - max(1, trailing_run(values >= bar))
    return int(steps[max(0, place - window + 1)])


def _repeats(units: _Units, layer: int, silent: Integers) -> bool:
    """Whether the next layer is a ReLU with as many units that is silent as well."""
    after = layer + 1
    if units.rectifies[layer] or after >= len(units.rows) or after not in silent:
        return False
    return bool(units.rectifies[after] and units.channels[after] == units.channels[layer])


DEAD_NEURONS = Rule(
    id="dead_neurons",
    stage=Stage.FORWARD,
    needs=("dead_ratio",),
    severity=Severity.WARNING,
    patience=3,
    clear_patience=6,
    judge=_judge,
    # Not vanishing_gradient: past a layer that is silent altogether gradients are cut off, not decaying.
    causes=frozenset(("param_not_updated", "plateau", "class_collapse", "input_ignored")),
    explain=Explanation(
        meaning="Units of a layer with a ReLU-like activation gave no positive output for any sample of many "
        "batches. Their gradient is exactly zero, so they never learn again: capacity that is paid for and "
        "not used. Sparse outputs are healthy as long as every unit answers to some input.",
        formula="units silent in every observed batch of the window / units >= 50 %, or >= 30 % after a "
        "loss of "
        "25 points (clears below 25 %), with at least 8 observed batches and 128 outputs of each unit. "
        "A layer "
        "without an activation module counts a unit whose output was never positive and whose arriving "
        "gradient was exactly 0 throughout.",
        sources=(
            "Lu, Shin, Su, Karniadakis 2020, Dying ReLU and Initialization",
            "Amazon SageMaker Debugger, DeadRelu: 50 % of the units",
        ),
        try_next=(
            "Lower the learning rate; warm it up.",
            "Initialise biases at zero and weights for ReLU.",
            "Use LeakyReLU, GELU or SiLU.",
        ),
    ),
)
