"""Options that several verbs have: how closely a training is looked at."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import click

from tuimon.cli.quantities import share_ratio

if TYPE_CHECKING:
    from tuimon.wire.commands import Cadence

every_option = click.option(
    "--every", type=click.IntRange(min=1), metavar="N", help="Observe every N steps, whatever it costs."
)
budget_option = click.option(
    "--budget",
    type=share_ratio,
    metavar="SHARE",
    help="Share of the training's time to use, such as 1% or 0.01.",
)
measure_option = click.option(
    "--measure",
    is_flag=True,
    help="Measure what watching costs: steps with and without it in turns, for 20 seconds or more.",
)
activations_option = click.option(
    "--activations",
    type=click.Choice(("auto", "eager-step")),
    default="auto",
    help="eager-step: run observed steps of a compiled model uncompiled, to see its layers; not bit-neutral.",
)


def asked(every: int | None, budget: float | None, measure: bool) -> Cadence | None:
    """What to ask of an agent; None for nothing.

    Raises:
        UsageError: a cadence and a budget exclude each other.
    """
    if every is not None and budget is not None:
        raise click.UsageError("--every and --budget exclude each other.")
    from tuimon.wire.commands import Cadence, Measure

    if measure:
        return Measure(every, budget, token=uuid.uuid4().hex)
    return None if every is None and budget is None else Cadence(every, budget)


def token_of(cadence: Cadence | None) -> str | None:
    """The token of the measurement that is asked for; None if none is."""
    return getattr(cadence, "token", None)
