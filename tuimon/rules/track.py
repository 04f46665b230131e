"""One finding followed from sample to sample, until it is an alert and until it is gone."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from tuimon.records.alert import Alert, AlertState, Severity
from tuimon.rules.rule import Finding, Rule, Stage


@dataclass(slots=True, eq=False)
class Track:
    """What the engine remembers of one fault of one rule."""

    rule: Rule
    finding: Finding
    #: Earliest step at which it is known to have been there.
    since_step: int
    #: Samples in a row that showed it, and samples in a row that were judged and did not.
    hits: int = 1
    misses: int = 0
    #: The alert while it fires; None before, and while it is another fault's consequence.
    alert: Alert | None = None
    #: The fault that this one follows from.
    cause: Track | None = None
    #: How bad it ever was: an alert does not get milder before it is over.
    worst: Severity = Severity.INFO
    #: Faults that follow from this one, in the order they were recognised.
    consequences: list[Track] = field(default_factory=list)

    @property
    def stage(self) -> Stage:
        """Where in the training step it sits."""
        return self.rule.stage if self.finding.stage is None else self.finding.stage

    @property
    def order(self) -> tuple[int, int]:
        """Causal order: what began earlier comes first, then what sits earlier in a step."""
        return self.since_step, self.stage

    @property
    def severity(self) -> Severity:
        """The worst of its own so far and of its consequences."""
        own = self.rule.severity if self.finding.severity is None else self.finding.severity
        return max([own, self.worst, *(c.severity for c in self.consequences)])

    def is_same(self, finding: Finding) -> bool:
        """Whether a new finding of the rule is this fault again: they share a culprit, or name none."""
        mine, theirs = self.finding.where, finding.where
        return not set(mine).isdisjoint(theirs) if mine and theirs else mine == theirs

    def again(self, finding: Finding, step: int) -> None:
        """The newest sample shows it as well. The first culprit stays first while it is one at all."""
        first = self.finding.where[:1]
        if first and first[0] in finding.where:
            others = tuple(name for name in finding.where if name != first[0])
            finding = replace(finding, where=first + others)
        self.finding = finding
        self.since_step = min(self.since_step, step if finding.since_step is None else finding.since_step)
        self.hits += 1
        self.misses = 0

    def as_alert(self, state: AlertState, step: int) -> Alert:
        """The alert as of now, its consequences attached."""
        found = self.finding
        self.worst = self.severity
        evidence = dict(found.evidence)
        if self.consequences:
            evidence["consequences"] = {
                c.rule.id: {
                    "since_step": c.since_step,
                    "where": list(c.finding.where),
                    "summary": c.finding.summary,
                }
                for c in self.consequences
            }
        if self.cause is not None:
            evidence["consequence_of"] = self.cause.rule.id
        return Alert(
            rule=self.rule.id, state=state, severity=self.severity, step=step,
            since_step=min(self.since_step, step), where=found.where, summary=found.summary,
            advice=found.advice, evidence=evidence,
            consequences=tuple(dict.fromkeys(c.rule.id for c in self.consequences)),
        )  # fmt: skip
