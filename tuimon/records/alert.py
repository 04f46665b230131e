"""What the rules say: an alert with its evidence."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field


class Severity(enum.IntEnum):
    """How bad it is; ordered, so that thresholds compare."""

    #: By design, or worth knowing.
    INFO = 0
    #: It costs quality or time.
    WARNING = 1
    #: The run is lost or losing.
    CRITICAL = 2

    @property
    def word(self) -> str:
        """The name used on the command line and in JSON."""
        return self.name.lower()


class AlertState(enum.Enum):
    """Whether the finding still holds."""

    FIRING = "firing"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class Alert:
    """One finding that lasted long enough to be believed, or that has gone again."""

    #: Rule id of the vocabulary, such as "dead_neurons".
    rule: str
    state: AlertState
    severity: Severity
    #: Step at which this state was reached.
    step: int
    #: Step at which the symptom began, from the history; never after `step`.
    since_step: int
    #: Names as `named_parameters()` or `named_modules()` give them, first culprit first.
    where: tuple[str, ...]
    #: One line: what is wrong, with the numbers in it.
    summary: str
    #: What to try, most likely first.
    advice: str
    #: Formula, numbers, window, normal band and series behind the finding; JSON values only.
    evidence: Mapping[str, object] = field(default_factory=dict)
    #: Rules whose findings follow from this one and are not fired beside it.
    consequences: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, tuple[str, ...]]:
        """What makes two alerts the same one: the rule, and its first culprit."""
        return self.rule, self.where[:1]
