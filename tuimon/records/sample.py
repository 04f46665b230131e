"""One observed step, and the small records that travel beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tuimon.records.criterion import Criterion
from tuimon.records.tensors import TensorTable, empty_table


@dataclass(frozen=True, slots=True)
class StepTimes:
    """Where one observed step's wall time went, seconds; None where the border was not seen.

    The monitor's own work is taken out of each part.
    """

    #: From the end of the previous step to the first forward of this one.
    data_s: float | None = None
    forward_s: float | None = None
    backward_s: float | None = None
    optimizer_s: float | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """One observed optimizer step."""

    #: Number of this sample within its agent, counted from 1 without gaps (a gap: frames were dropped).
    index: int
    #: Optimizer steps since training began where the optimizer's state tells, else since the watch began.
    step: int
    #: Unix time at the end of the step, seconds.
    time_s: float
    #: Which `Layout` the tensors' rows refer to.
    layout: int
    #: What the user would print: unscaled, mean over the step's microbatches. None when not seen.
    loss: float | None = None
    #: What each microbatch's loss had been divided by before backward and was multiplied with again for
    #: `loss`; None when none was divided (or several optimizers were).
    loss_divisor: int | None = None
    #: Losses by optimizer class and position ("Adam.0") when several optimizers step in turn.
    losses: Mapping[str, float] = field(default_factory=dict)
    #: Learning rate of each parameter group, optimizers one after another; None where it lies on a device.
    lr: tuple[float | None, ...] = ()
    #: Euclidean norm of all gradients that the optimizers applied (after clipping).
    grad_norm: float | None = None
    #: The same before clipping; None when it was not read (see the agent's clip probe).
    grad_norm_preclip: float | None = None
    #: Backward calls in this step (gradient accumulation); 0 when none was seen.
    microbatches: int = 0
    #: Mean wall time of a step since the previous sample, seconds.
    step_s: float | None = None
    times: StepTimes = StepTimes()
    #: Share of the training's time that watching costs, measured over the recent past.
    overhead_ratio: float | None = None
    #: The monitor's own CPU time in this step, seconds.
    overhead_s: float | None = None
    #: Steps between samples at present.
    every: int = 1
    #: Observed batches over which dead units are judged in this sample.
    dead_window: int = 0
    rss_bytes: int | None = None
    cuda_bytes: int | None = None
    #: Loss scale of a GradScaler in this step, and whether it left the step out; None without one.
    loss_scale: float | None = None
    skipped: bool | None = None
    #: Probes that gave up in this step, with the reason, by probe.
    trouble: Mapping[str, str] = field(default_factory=dict)
    #: The loss functions of torch that this step called, in the order first called.
    criteria: tuple[Criterion, ...] = ()
    tensors: TensorTable = field(default_factory=empty_table)


@dataclass(frozen=True, slots=True)
class Log:
    """Scalars that the training reported with `tuimon.log`."""

    #: Optimizer step at which they were logged, as in `Sample.step`.
    step: int
    time_s: float
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Notice:
    """One line from the agent to the person: what it gave up or found, and why."""

    step: int
    time_s: float
    text: str


@dataclass(frozen=True, slots=True)
class Bye:
    """The agent's last record: the training ended, or the agent left it."""

    #: "finished" (the process ends), "closed" (`Monitor.close`), "detached" (asked to leave, or nobody looked
    #: any more), or "disarmed: ..." with the error.
    reason: str
    step: int = 0
    time_s: float = 0.0
