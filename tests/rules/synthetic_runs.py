"""Trainings made of numbers: samples as an agent would send them, through a real session."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tuimon.records.alert import Alert, AlertState
from tuimon.records.hello import Hello
from tuimon.records.layout import LayerInfo, Layout, TensorInfo, TensorKind
from tuimon.records.sample import Sample
from tuimon.records.tensors import DEAD_RATIO, UPDATE_RATIO, TensorTable
from tuimon.rules.catalogue import ALL_RULES
from tuimon.rules.rule import Rule
from tuimon.session.change import AlertChanged
from tuimon.session.session import Session

UNITS, BATCH = 64, 32

HELLO = Hello(
    pid=4711, name="train.py", host="box", user="me", command=("python", "train.py"), started_s=0.0,
    parameters=1000, trainable_parameters=1000, devices=("cpu",), dtypes=("float32",), python="3.11",
    torch="2.13", tuimon="0.1", kernels={"cpu": "numba"}, probes={"activations": "on"}, optimizers=("SGD",),
)  # fmt: skip

_PARAMETERS = (TensorKind.GRADIENT, TensorKind.WEIGHT)

Key = tuple[TensorKind, str]


def perceptron(depth: int, *, rectified: bool = True, prefix: str = "", dtype: str = "float32") -> Layout:
    """`depth` linear layers, each followed by a ReLU: fc0, act0, fc1, ..."""
    layers: list[LayerInfo] = []
    tensors: list[TensorInfo] = [TensorInfo("input", TensorKind.INPUT, None, dtype, (BATCH, UNITS))]
    for i in range(depth):
        activity = "positive" if rectified else None
        fc = LayerInfo(f"{prefix}fc{i}", "Linear", activity=activity, channels=UNITS)
        act = LayerInfo(f"{prefix}act{i}", "ReLU" if rectified else "Tanh", activity=activity, channels=UNITS)
        at = len(layers)
        layers += [fc, act]
        for kind in (TensorKind.GRADIENT, TensorKind.WEIGHT):
            tensors.append(TensorInfo(f"{fc.name}.weight", kind, at, dtype, (UNITS, UNITS), trainable=True))
            tensors.append(TensorInfo(f"{fc.name}.bias", kind, at, dtype, (UNITS,), trainable=True))
        for layer, place in ((fc, at), (act, at + 1)):
            tensors += [
                TensorInfo(layer.name, kind, place, dtype, (BATCH, UNITS))
                for kind in (TensorKind.ACTIVATION, TensorKind.OUTPUT_GRADIENT)
            ]
    return Layout(1, tuple(layers), tuple(tensors))


@dataclass
class Run:
    """Feeds a session with samples; what is not said is healthy."""

    layout: Layout = field(default_factory=lambda: perceptron(6))
    hello: Hello = HELLO
    rules: Sequence[Rule] = ALL_RULES
    seed: int = 0
    every: int = 1

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(self.seed)
        self.session = Session(self.rules, clock=lambda: 0.0)
        self.session.apply(self.hello)
        self.session.apply(self.layout)
        self.plan = Plan(self.layout)
        self.index = 0
        self.news: list[Alert] = []

    @property
    def step_now(self) -> int:
        return self.index * self.every

    @property
    def firing(self) -> set[str]:
        return {alert.rule for alert in self.session.alerts}

    @property
    def fired(self) -> list[str]:
        """Rules whose alert fired at any time, in order."""
        return [alert.rule for alert in self.news if alert.state is AlertState.FIRING]

    def alert(self, rule: str) -> Alert:
        return next(alert for alert in self.session.alerts if alert.rule == rule)

    def noisy(self, values: Any, by: float = 0.2) -> Any:
        values = np.asarray(values, float)
        return values * np.exp(by * self.random.standard_normal(values.shape))

    def step(
        self,
        loss: float | None = None,
        *,
        gradients: Any = 1e-2,
        weights: Any = 5e-2,
        updates: Any = 2e-3,
        dead: Mapping[str, float] | None = None,
        bad: Iterable[Key] = (),
        extremes: Mapping[Key, tuple[float, float]] | None = None,
        elements: int | None = None,
        signals: Any = 1.0,
        lr: float = 1e-2,
        **fields: Any,
    ) -> list[Alert]:
        """One sample. `gradients`, `weights`, `updates`: per linear layer or one for all; `bad`: with a NaN.

        Returns the alerts that this sample fired or resolved.
        """
        self.index += 1
        table = self._table(
            {"gradients": gradients, "weights": weights, "signals": signals},
            updates,
            dead or {},
            bad,
            extremes or {},
            elements,
        )
        norm = float(np.linalg.norm(np.atleast_1d(gradients))) * UNITS
        fields = {"grad_norm": norm, "dead_window": min(128, self.index), **fields}
        sample = Sample(
            self.index, self.step_now, float(self.step_now), self.layout.id, loss=loss, lr=(lr,),
            tensors=table, every=self.every, **fields,
        )  # fmt: skip
        changes = self.session.apply(sample)
        news = [change.alert for change in changes if isinstance(change, AlertChanged)]
        self.news += news
        return news

    def healthy(self, steps: int, *, start: float = 2.3, **fields: Any) -> None:
        """Samples of a training that goes well, with minibatch noise."""
        depth = self.plan.depth
        for _ in range(steps):
            loss = start * (0.3 + 0.7 * float(np.exp(-self.index / 40.0)))
            self.step(
                float(self.noisy(loss, 0.05)),
                **{
                    "gradients": self.noisy(np.full(depth, 1e-2)),
                    "updates": self.noisy(np.full(depth, 2e-3)),
                    **fields,
                },
            )

    def _table(
        self, sizes: Mapping[str, Any], updates: Any, dead: Mapping[str, float], bad: Iterable[Key],
        extremes: Mapping[Key, tuple[float, float]], elements: int | None,
    ) -> TensorTable:  # fmt: skip
        plan = self.plan
        k, depth = len(plan.n), plan.depth
        counts, moments, ratios = np.zeros((k, 6), np.int64), np.ones((k, 4)), np.zeros((k, 3))
        n = plan.n.copy()
        if elements is not None:
            n[plan.rows["activations"]] = elements
        rms = np.ones(k)
        if depth:
            for name, values in {**sizes, "updates": updates}.items():
                rows = plan.rows[name]
                spread = np.broadcast_to(np.asarray(values, float), depth)[plan.place[rows]]
                if name == "updates":
                    ratios[rows, 0] = spread
                else:
                    rms[rows] = spread
        for name, share in dead.items():
            ratios[plan.row[TensorKind.ACTIVATION, name], 1] = share
        for key in bad:
            counts[plan.row[key], 1] = 1
        counts[:, 0] = n
        moments[:, 0], moments[:, 1] = 0.0, rms * rms * (n - counts[:, 1])
        moments[:, 2], moments[:, 3] = -3.0 * rms, 3.0 * rms
        for key, span in extremes.items():
            moments[plan.row[key], 2:] = span
        return TensorTable(
            array("i", range(k)), array("q", counts.tobytes()), array("d", moments.tobytes()),
            array("d", ratios.tobytes()), array("B", plan.measured.tobytes()), array("q", bytes(8 * k)),
            array("q", bytes(8 * k)), array("h", bytes(2 * k)), array("h", bytes(2 * k)), array("I"),
        )  # fmt: skip


class Plan:
    """Where the numbers of a sample go, for one layout."""

    def __init__(self, layout: Layout) -> None:
        tensors = layout.tensors
        owners = dict.fromkeys(t.name.rpartition(".")[0] for t in tensors if t.kind is TensorKind.WEIGHT)
        linear = {name: i for i, name in enumerate(owners)}
        self.depth = len(linear)
        self.row = {(t.kind, t.name): i for i, t in enumerate(tensors)}
        self.n = np.array([int(np.prod(t.shape or (1,))) for t in tensors], np.int64)
        # An output's place is its own layer's, an activation's that of the linear layer before it.
        owner = [
            t.name.rpartition(".")[0] if t.kind in _PARAMETERS else t.name.replace("act", "fc")
            for t in tensors
        ]
        self.place = np.array([linear.get(name, 0) for name in owner], np.int64)
        kinds = np.array([t.kind.value for t in tensors])
        weights = np.flatnonzero(kinds == "weight")
        self.rows = {
            "gradients": np.flatnonzero(kinds == "gradient"),
            "weights": weights,
            "updates": weights,
            "signals": np.flatnonzero(kinds == "output_gradient"),
            "activations": np.flatnonzero(kinds == "activation"),
        }
        self.measured = np.zeros(len(tensors), np.uint8)
        self.measured[weights] = UPDATE_RATIO
        for i in self.rows["activations"]:
            at = tensors[i].layer
            if at is not None and layout.layers[at].activity:
                self.measured[i] = DEAD_RATIO


def with_optimizers(*names: str) -> Hello:
    return replace(HELLO, optimizers=names)
