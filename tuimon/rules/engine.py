"""From findings to alerts: patience, hysteresis, abstention, and one alert for one cause.

Cause and consequence are decided thus. A fault A explains a fault B when

1. A's rule says that B may follow from it (`Rule.causes`): a learning rate that is too high explains
   NaN, but a dead layer does not;
2. A began at an earlier step than B, as far as the history shows, or at the same step and sits at an
   earlier stage of it (data, init, forward, loss, backward, update, curve): see `Track.order`;
3. A is firing, or has been seen for half of its patience: B is then the evidence that was missing, and
   A fires at once in B's place.

Of several explanations the earliest wins. B is attached to A's alert instead of firing beside it and
raises A's severity to its own; when A is gone and B is not, B fires by itself. If B fired before A could
be seen, B's alert is closed when A fires, with A named in its evidence.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from tuimon.records.alert import Alert, AlertState
from tuimon.rules.judgement import Judgement
from tuimon.rules.rule import Abstain, Finding, Findings, Firing, Rule, Verdict
from tuimon.rules.track import Track
from tuimon.rules.view import View

#: Resolved alerts that are remembered.
_PAST = 256


class Engine:
    """Judges every sample by every rule, and remembers what lasted."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        # What blinds the others is judged first; else in causal order, so that ties end the same way.
        self._rules = sorted(rules, key=lambda rule: (not rule.blinds, rule.stage))
        self._tracks: list[Track] = []
        self._past: list[Alert] = []
        self._judgements: dict[str, Judgement] = {
            rule.id: Judgement("not judged", "no step observed yet") for rule in self._rules
        }
        self._fired: dict[str, list[Alert]] = {}

    @property
    def active(self) -> tuple[Alert, ...]:
        """Alerts that fire: most severe first, then in causal order."""
        firing = [track for track in self._tracks if track.alert is not None]
        firing.sort(key=lambda track: (-track.severity, track.order))
        return tuple(track.alert for track in firing if track.alert is not None)

    @property
    def past(self) -> tuple[Alert, ...]:
        """Alerts that were resolved, oldest first."""
        return tuple(self._past)

    @property
    def judgements(self) -> Mapping[str, Judgement]:
        """Where each rule stands after the newest sample, by rule id."""
        return MappingProxyType(self._judgements)

    def digest(self) -> dict[str, dict[str, object]]:
        """What fired, by rule: how often, whether it still does, where and since when first."""
        active = {alert.rule for alert in self.active}
        return {
            rule: {
                "fired": len({alert.key for alert in alerts}),
                "active": rule in active,
                "severity": max(alert.severity for alert in alerts).word,
                "since_step": min(alert.since_step for alert in alerts),
                "where": list(alerts[0].where),
            }
            for rule, alerts in self._fired.items()
        }

    def judge(self, view: View) -> tuple[Alert, ...]:
        """Take the newest sample into account; returns the alerts that fired or were resolved."""
        step = view.sample.step
        blind: str | None = None
        verdicts: dict[str, Verdict] = {}
        for rule in self._rules:
            verdict = verdicts[rule.id] = self._verdict(rule, view, blind)
            if rule.blinds and isinstance(verdict, Findings) and verdict.found:
                blind = f"{rule.id} at step {step}"
        news: list[Alert] = []
        for rule in self._rules:
            news += self._follow(rule, verdicts[rule.id], step)
        news += self._settle(step)
        for rule in self._rules:
            self._judgements[rule.id] = self._standing(rule, verdicts[rule.id])
        return tuple(news)

    def _verdict(self, rule: Rule, view: View, blind: str | None) -> Verdict:
        if blind is not None and not rule.sees_through:
            return Abstain(f"its numbers mean nothing after {blind}")
        for series in rule.needs:
            why = view.missing(series)
            if why is not None:
                return Abstain(why)
        firing: Firing = frozenset(
            track.finding.where[0] if track.finding.where else ""
            for track in self._tracks
            if track.rule is rule and track.alert is not None
        )
        return rule.judge(view, firing)

    def _follow(self, rule: Rule, verdict: Verdict, step: int) -> list[Alert]:
        """Match findings with what is known; returns alerts that are over. An abstention changes nothing."""
        if isinstance(verdict, Abstain):
            return []
        known = [track for track in self._tracks if track.rule is rule]
        seen: set[int] = set()
        for finding in verdict.found:
            track = next((t for t in known if id(t) not in seen and t.is_same(finding)), None)
            if track is None:
                track = _begin(rule, finding, step)
                self._tracks.append(track)
            else:
                track.again(finding, step)
            seen.add(id(track))
        over: list[Alert] = []
        for track in known:
            if id(track) in seen:
                continue
            track.misses += 1
            if track.alert is None or track.misses >= rule.clear_patience:
                over += self._end(track, step)
        return over

    def _end(self, track: Track, step: int) -> list[Alert]:
        self._tracks.remove(track)
        for consequence in track.consequences:
            consequence.cause = None
        if track.cause is not None:
            track.cause.consequences.remove(track)
        if track.alert is None:
            return []
        return [self._close(track, step)]

    def _close(self, track: Track, step: int) -> Alert:
        alert = track.as_alert(AlertState.RESOLVED, step)
        track.alert = None
        self._past = [*self._past, alert][-_PAST:]
        return alert

    def _settle(self, step: int) -> list[Alert]:
        """Fire what has lasted, or attach it to what explains it."""
        news: list[Alert] = []
        for track in sorted(self._tracks, key=lambda t: t.order):
            if track.alert is None and track.cause is None and track.hits >= track.rule.patience:
                cause = self._explanation(track)
                if cause is None:
                    news += self._fire(track, step)
                    continue
                if cause.alert is None:
                    news += self._fire(cause, step)
                if track.cause is None:
                    _attach(track, cause)
        for track in self._tracks:
            news += self._refresh(track, step)
        return news

    def _explanation(self, track: Track) -> Track | None:
        """The earliest fault that this one may follow from, itself no consequence."""
        fitting = [
            other
            for other in self._tracks
            if _explains(other, track)
            and other.cause is None
            and (other.alert is not None or 2 * other.hits >= other.rule.patience)
        ]
        return min(fitting, key=lambda other: other.order, default=None)

    def _fire(self, track: Track, step: int) -> list[Alert]:
        news: list[Alert] = []
        for other in self._tracks:
            if other.alert is not None and _explains(track, other):
                _attach(other, track)
                news.append(self._close(other, step))
        track.alert = track.as_alert(AlertState.FIRING, step)
        self._fired.setdefault(track.rule.id, []).append(track.alert)
        news.append(track.alert)
        return news

    def _refresh(self, track: Track, step: int) -> list[Alert]:
        """Keep a firing alert's numbers current; news only when it got worse."""
        before = track.alert
        if before is None or (before.step == step and before.consequences == _rules(track)):
            return []
        now = track.as_alert(AlertState.FIRING, before.step)
        worse = now.severity > before.severity
        track.alert = track.as_alert(AlertState.FIRING, step) if worse else now
        if worse:
            self._fired[track.rule.id].append(track.alert)
        return [track.alert] if worse else []

    def _standing(self, rule: Rule, verdict: Verdict) -> Judgement:
        tracks = [track for track in self._tracks if track.rule is rule]
        if any(track.alert is not None for track in tracks):
            return Judgement("firing", verdict.reason if isinstance(verdict, Abstain) else None)
        if isinstance(verdict, Abstain):
            return Judgement("not judged", verdict.reason)
        for track in tracks:
            why = None if track.cause is None else f"follows from {track.cause.rule.id}"
            return Judgement("suspect", why)
        return Judgement("ok")


def _begin(rule: Rule, finding: Finding, step: int) -> Track:
    since = step if finding.since_step is None else min(finding.since_step, step)
    return Track(rule, finding, since)


def _explains(cause: Track, track: Track) -> bool:
    return cause is not track and track.rule.id in cause.rule.causes and cause.order < track.order


def _attach(track: Track, cause: Track) -> None:
    track.cause = cause
    cause.consequences.append(track)
    # What followed from the consequence follows from the cause as well: alerts form no chains.
    for further in track.consequences:
        further.cause = cause
        cause.consequences.append(further)
    track.consequences = []


def _rules(track: Track) -> tuple[str, ...]:
    return tuple(dict.fromkeys(c.rule.id for c in track.consequences))
