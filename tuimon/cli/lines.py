"""A followed run as lines that a person reads: what `record` prints without `--json`."""

from __future__ import annotations

from collections.abc import Mapping

from tuimon.records.alert import Alert, AlertState
from tuimon.records.criterion import Evaluation, accuracy_of
from tuimon.records.hello import Hello
from tuimon.records.layout import Layout
from tuimon.records.sample import Sample
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
    Logged,
    Noticed,
    Sampled,
)
from tuimon.session.connection import ConnectionState
from tuimon.session.measured import measured_words
from tuimon.session.scalars import loss_words
from tuimon.session.session import Session

#: What was not measured.
UNKNOWN = "-"

#: Learning rates beyond this many are told once each.
_MOST_RATES = 8

#: The agent's farewells in words; others ("disarmed: ...") are words already.
_FAREWELLS = {
    "finished": "the training has finished",
    "closed": "the training has closed its monitor",
    "detached": "tuimon has left the training, which goes on",
}


def text_lines(session: Session, change: Change) -> list[str]:
    """What one change of `session` says; no line for what says nothing new."""
    match change:
        case Introduced(hello, layout):
            return [_hello(hello, layout)]
        case Sampled(sample):
            return [_sample(sample, session.history.clip_ratio)]
        case AlertChanged(alert):
            return _alert(alert)
        case Logged(log):
            return [f"step {log.step}  {_values(log.values)}"]
        case Evaluated(evaluation):
            return [_evaluation(evaluation)]
        case Compared(trial):
            return _trial(trial)
        case Noticed(notice):
            return [f"note at step {notice.step}: {notice.text}"]
        case FellSilent(silence):
            return [f"{silence.in_words()}; `tuimon doctor PID` shows where it is"]
        case Left(bye):
            return _end(session, bye.reason)
        case ConnectionChanged(state):
            return _connection(session, state)


def parting_lines(session: Session, leaving: str) -> list[str]:
    """What a person who closes the screen goes away with; `leaving` if the training has not ended."""
    state = session.connection
    return _end(session, (state.reason or "ended") if state.status == "ended" else leaving)


def last_step(session: Session) -> int | None:
    """The step at which the training said goodbye, else the newest observed one; None before the first."""
    if session.bye is not None:
        return session.bye.step
    return None if session.last is None else session.last.step


def number(value: float | None, digits: int = 4) -> str:
    """A value in few characters; what was not measured is never 0."""
    return UNKNOWN if value is None else f"{value:.{digits}g}"


def percent(ratio: float | None) -> str:
    """A share with its sign."""
    return UNKNOWN if ratio is None else f"{100.0 * ratio:.2g} %"


def _hello(hello: Hello, layout: Layout | None) -> str:
    layers = "" if layout is None else f" in {len(layout.layers)} layers"
    place = f"{', '.join(hello.dtypes)} on {', '.join(hello.devices)}".strip()
    blind = [f"{probe}: {why}" for probe, why in hello.probes.items() if why != "on"]
    not_seen = f"  not seen: {'; '.join(blind)}" if blind else ""
    return (
        f"{hello.name}  pid {hello.pid} @ {hello.host}  {hello.parameters:,} parameters{layers}, "
        f"{place}  torch {hello.torch}{not_seen}"
    )


def _sample(sample: Sample, clip_ratio: float | None) -> str:
    norm, unclipped = number(sample.grad_norm), number(sample.grad_norm_preclip)
    before = "" if unclipped in (UNKNOWN, norm) else f" (before clipping {unclipped})"
    clipped = f", clipped in {100.0 * clip_ratio:.0f} % of steps" if clip_ratio else ""
    scale = "" if sample.loss_scale is None else f"  loss scale {number(sample.loss_scale, 6)}"
    skipped = "  skipped: a gradient overflowed" if sample.skipped else ""
    pace = UNKNOWN if sample.step_s is None else f"{1000.0 * sample.step_s:.3g} ms"
    losses = f"  {_values(sample.losses)}" if sample.losses else ""
    made = f" ({words})" if (words := loss_words(sample)) else ""
    accuracy = _accuracy(accuracy_of(sample.criteria))
    return (
        f"step {sample.step}  loss {number(sample.loss)}{made}{losses}{accuracy}"
        f"  lr {_rates(sample)}"
        f"  gradient norm {norm}{before}{clipped}{scale}{skipped}"
        f"  {pace} a step  watching costs {percent(sample.overhead_ratio)}"
    )


def _rates(sample: Sample) -> str:
    told = [number(lr, 3) for lr in sample.lr]
    # With an optimizer per parameter there are hundreds, mostly the same.
    return ", ".join(told if len(told) <= _MOST_RATES else dict.fromkeys(told)) or UNKNOWN


def _evaluation(evaluation: Evaluation) -> str:
    terms = [f"{term.name} {number(term.value)}" for term in evaluation.criteria[1:]]
    batches = "1 batch" if evaluation.batches == 1 else f"{evaluation.batches} batches"
    return "  ".join((
        f"step {evaluation.step}  validation loss {number(evaluation.loss)} over {batches}"
        f"{_accuracy(evaluation.accuracy)}", *terms
    ))  # fmt: skip


def _trial(trial: Trial) -> list[str]:
    """The result, and before it now and then how far it is."""
    if not trial.done:
        tenth = max(1, trial.wanted // 4)
        told = trial.pairs and trial.pairs % tenth == 0
        return [f"measuring what watching costs: {trial.pairs} of {trial.wanted} pairs"] if told else []
    blocks = f"{trial.pairs} pairs of blocks of {trial.block_steps} steps, watched every {trial.every}"
    early = f"; stopped early: {trial.stopped}" if trial.stopped else ""
    return [f"step {trial.step}  measured: {measured_words(trial)} ({blocks}{early})"]


def _accuracy(ratio: float | None) -> str:
    return "" if ratio is None else f"  accuracy {100.0 * ratio:.3g} %"


def _alert(alert: Alert) -> list[str]:
    where = f" at {alert.where[0]}" if alert.where else ""
    if alert.state is AlertState.RESOLVED:
        return [f"resolved at step {alert.step}: {alert.rule}{where}"]
    head = f"{alert.severity.word.upper()} {alert.rule}{where} since step {alert.since_step}"
    first = f"{head}: {alert.summary}"
    return [first, f"    {alert.advice}"] if alert.advice else [first]


def _connection(session: Session, state: ConnectionState) -> list[str]:
    match state.status:
        case "reconnecting":
            return [f"connection lost: {state.reason}; trying again"]
        case "ended" if session.bye is None:
            return _end(session, state.reason or "ended")
        case _:
            return []


def _end(session: Session, reason: str) -> list[str]:
    """The digest: how far it came, and everything that fired."""
    step = last_step(session)
    reached = "" if step is None else f" at step {step}"
    lines = [f"end{reached}: {_FAREWELLS.get(reason, reason)}"]
    for rule, told in session.digest().items():
        where = told["where"]
        place = f" at {where[0]}" if isinstance(where, list) and where else ""
        now = "" if told["active"] else ", resolved"
        lines.append(f"    {told['severity']} {rule}{place} since step {told['since_step']}{now}")
    return lines if len(lines) > 1 else [f"{lines[0]}; no alert fired"]


def _values(values: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {number(value)}" for name, value in values.items())
