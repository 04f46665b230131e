"""The demo's trainings by name, and the alert that each one shows. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scenario:
    """One training of the demo."""

    #: As given to `tuimon demo --scenario`.
    name: str
    #: Id of the rule that this training fires; None for the healthy one.
    rule: str | None
    #: What was done wrong, in one line.
    fault: str


#: The training in which nothing is wrong.
HEALTHY = Scenario("healthy", None, "nothing: a small transformer that learns")

_SICK = (
    Scenario("dead", "dead_neurons", "the ReLUs of one block start with a bias far below zero"),
    Scenario("exploding", "exploding_gradient", "no norms, no skips, and weights 20 times too wide"),
    Scenario("vanishing", "vanishing_gradient", "no norms, no skips, sigmoids, and plain SGD"),
    Scenario("lr", "lr_too_high", "a learning rate a thousand times too high"),
    Scenario("nan", "nonfinite", "a half-precision softmax that does not subtract its maximum"),
)

SCENARIOS: dict[str, Scenario] = {scenario.name: scenario for scenario in (HEALTHY, *_SICK)}
