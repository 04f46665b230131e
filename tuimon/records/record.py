"""What an agent may say to a viewer: the closed list of records that travel."""

from __future__ import annotations

from typing import TypeAlias

from tuimon.records.criterion import Evaluation
from tuimon.records.hello import Hello
from tuimon.records.layout import Layout
from tuimon.records.sample import Bye, Log, Notice, Sample
from tuimon.records.trial import Trial

Record: TypeAlias = Hello | Layout | Sample | Evaluation | Trial | Log | Notice | Bye
