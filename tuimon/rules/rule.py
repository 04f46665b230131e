"""What a rule is, and what it may answer."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tuimon.records.alert import Severity
from tuimon.rules.view import View


class Stage(enum.IntEnum):
    """Where in a training step a fault sits: earlier stages cause what shows in later ones."""

    DATA = 0
    INIT = 1
    FORWARD = 2
    LOSS = 3
    BACKWARD = 4
    UPDATE = 5
    CURVE = 6


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault that the newest sample shows. An alert only once it lasted."""

    #: Names of the culprits, the first one first.
    where: tuple[str, ...]
    #: One line: what is wrong, with the numbers in it.
    summary: str
    #: Formula, numbers, window, normal band, series; JSON values only.
    evidence: Mapping[str, object]
    #: What to try, most likely first.
    advice: str
    #: Step at which the symptom began as far as the history shows; None: at this sample.
    since_step: int | None = None
    #: How bad it is this time; None: as the rule says.
    severity: Severity | None = None
    #: Where it sits this time; None: where the rule sits.
    stage: Stage | None = None


@dataclass(frozen=True, slots=True)
class Findings:
    """The rule could judge. No finding: healthy."""

    found: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Abstain:
    """The rule could not judge, and why."""

    reason: str


Verdict = Findings | Abstain

#: The rule judged, and all is well.
HEALTHY = Findings()

#: First culprits for which this rule's alert is firing ("" for one that names none): for these the lower
#: bar holds (hysteresis).
Firing = frozenset[str]

#: A pure function of what the view shows.
Judge = Callable[[View, Firing], Verdict]


@dataclass(frozen=True, slots=True)
class Explanation:
    """What `tuimon explain` prints."""

    meaning: str
    formula: str
    sources: tuple[str, ...]
    try_next: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """One entry of the vocabulary."""

    #: The name that users and scripts rely on.
    id: str
    stage: Stage
    #: Series without which it abstains, as `View.missing` names them.
    needs: tuple[str, ...]
    severity: Severity
    #: Samples in a row that must show a finding before it is an alert.
    patience: int
    #: Samples in a row that must be judged healthy before the alert is resolved.
    clear_patience: int
    judge: Judge
    explain: Explanation
    #: Rules whose findings may follow from this one's.
    causes: frozenset[str] = field(default_factory=frozenset)
    #: While it has a finding, the numbers that other rules read mean nothing: they abstain.
    blinds: bool = False
    #: Judges also then, because what blinds the others is part of its own picture.
    sees_through: bool = False
