"""What one event changed in a session, for whoever shows or writes it."""

from __future__ import annotations

from dataclasses import dataclass

from tuimon.records.alert import Alert
from tuimon.records.criterion import Evaluation
from tuimon.records.hello import Hello
from tuimon.records.layout import Layout
from tuimon.records.sample import Bye, Log, Notice, Sample
from tuimon.records.trial import Trial
from tuimon.session.connection import ConnectionState
from tuimon.session.silence import Silence


@dataclass(frozen=True, slots=True)
class ConnectionChanged:
    """The connection came, went or ended."""

    state: ConnectionState


@dataclass(frozen=True, slots=True)
class Introduced:
    """What is being trained became known, or is known better than before."""

    hello: Hello
    #: None when the training left before it named its layers.
    layout: Layout | None


@dataclass(frozen=True, slots=True)
class Sampled:
    """One more observed step is in the history, and the rules have judged it."""

    sample: Sample


@dataclass(frozen=True, slots=True)
class AlertChanged:
    """An alert fired or was resolved: see `Alert.state`."""

    alert: Alert


@dataclass(frozen=True, slots=True)
class Logged:
    """The training reported scalars of its own."""

    log: Log


@dataclass(frozen=True, slots=True)
class Evaluated:
    """A validation pass was seen."""

    evaluation: Evaluation


@dataclass(frozen=True, slots=True)
class Compared:
    """What watching costs is known better than before, or for good."""

    trial: Trial


@dataclass(frozen=True, slots=True)
class Noticed:
    """The agent has something to tell the person."""

    notice: Notice


@dataclass(frozen=True, slots=True)
class FellSilent:
    """No step for much longer than usual. Told again whenever that time has doubled."""

    silence: Silence


@dataclass(frozen=True, slots=True)
class Left:
    """The training ended or the agent left it; nothing more is observed."""

    bye: Bye


Change = (
    ConnectionChanged
    | Introduced
    | Sampled
    | AlertChanged
    | Logged
    | Evaluated
    | Compared
    | Noticed
    | FellSilent
    | Left
)
