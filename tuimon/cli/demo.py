"""`tuimon demo`: a real small training to look at, healthy or sick."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tuimon.cli.attach import has_screen, open_screen
from tuimon.demo.scenario import HEALTHY, SCENARIOS, Scenario

if TYPE_CHECKING:
    from tuimon.session.change import Change
    from tuimon.session.session import Session

#: Steps without a terminal, where nobody ends it with a key: some ten seconds on two cores.
DEFAULT_STEPS = 200

_SICK = tuple(name for name in SCENARIOS if name != HEALTHY.name)


@click.command(short_help="Open the monitor on a small training made for it.")
@click.option("--scenario", type=click.Choice(_SICK), help="Train with this fault in it, to see its alert.")
@click.option(
    "--steps",
    type=click.IntRange(min=1),
    metavar="N",
    help=f"Steps to train. [default: without end, {DEFAULT_STEPS} without a terminal]",
)
def demo(scenario: str | None, steps: int | None) -> int:
    """Train a small transformer on the standard library's sources, and open the monitor on it.

    The training runs in a process of its own and ends with the monitor. Without a terminal, prints
    the lines of `tuimon record`, and a summary.
    """
    shown = SCENARIOS[scenario or HEALTHY.name]
    if has_screen():
        return _on_screen(shown, steps)
    return _in_lines(shown, steps or DEFAULT_STEPS)


# Both import all they need before the training starts, so that they are there for its first steps.


def _on_screen(scenario: Scenario, steps: int | None) -> int:
    import tuimon.tui.app  # noqa: F401
    from tuimon.cli.training import demo_training

    click.echo("starting the training ...", err=True)
    with demo_training(scenario.name, steps) as training:
        training.let_end()
        return open_screen(training.pid, "left the demo; its training ends with it")


def _in_lines(scenario: Scenario, steps: int) -> int:
    from tuimon.cli.following import follow_process
    from tuimon.cli.record import text_writer
    from tuimon.cli.training import demo_training
    from tuimon.session.session import Session

    session, put = Session(), text_writer()
    with demo_training(scenario.name, steps) as training:

        def write(session: Session, change: Change) -> None:
            training.let_end()
            put(session, change)

        code = follow_process(training.pid, write, session=session)
    print(_summary(session, scenario))
    return code


def _summary(session: Session, scenario: Scenario) -> str:
    from tuimon.cli.lines import last_step, number, percent

    losses = session.history.scalar("loss").values
    last, steps = session.last, last_step(session)
    if last is None:
        return f"demo ({scenario.name}): ended before the first observed step"
    begun, ended = number(float(losses[0])), number(last.loss)
    told = (
        f"demo ({scenario.name}): {steps} step{'' if steps == 1 else 's'}, loss {begun} -> {ended}, "
        f"watching cost {percent(last.overhead_ratio)}"
    )
    if scenario.rule is None:
        return f"{told}; alerts: {', '.join(session.digest()) or 'none, as it should be'}"
    found = session.digest().get(scenario.rule)
    shown = "not shown" if found is None else f"shown since step {found['since_step']}"
    return f"{told}; {scenario.rule} was {shown} (what is wrong: {scenario.fault})"
