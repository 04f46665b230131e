"""Options that several verbs have: how closely a training is looked at."""

from __future__ import annotations

import click

from tuimon.cli.quantities import share_ratio

every_option = click.option(
    "--every", type=click.IntRange(min=1), metavar="N", help="Observe every N steps, whatever it costs."
)
budget_option = click.option(
    "--budget",
    type=share_ratio,
    metavar="SHARE",
    help="Share of the training's time to use, such as 1% or 0.01.",
)
activations_option = click.option(
    "--activations",
    type=click.Choice(("auto", "eager-step")),
    default="auto",
    help="eager-step: run observed steps of a compiled model uncompiled, to see its layers; not bit-neutral.",
)
