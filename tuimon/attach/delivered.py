"""What a viewer already has, so that the past told again after a reconnect is not taken twice."""

from __future__ import annotations

from collections import OrderedDict

from tuimon.records.criterion import Evaluation
from tuimon.records.hello import Hello
from tuimon.records.record import Record
from tuimon.records.sample import Log, Notice, Sample
from tuimon.records.trial import Trial

#: Logs, evaluations and notices remembered; an agent's own memory of them is shorter.
REMEMBERED = 10_000


class Delivered:
    """Memory of the records of one agent. Another agent (a second `watch`) starts a new one."""

    def __init__(self) -> None:
        self._agent: tuple[int, float] | None = None
        self._last_index = 0
        self._said: OrderedDict[str, None] = OrderedDict()

    def is_new(self, record: Record) -> bool:
        """Whether the record is still to be delivered; it counts as delivered from now on.

        Samples must come in ascending order: one that is older than the last is not new, even if
        it was dropped on its first way.
        """
        match record:
            case Hello():
                self._meet((record.pid, record.started_s))
                return True
            case Sample():
                if record.index <= self._last_index:
                    return False
                self._last_index = record.index
                return True
            case Log() | Notice() | Evaluation() | Trial():
                return self._is_said_first(repr(record))
            case _:
                return True

    def _meet(self, agent: tuple[int, float]) -> None:
        if agent != self._agent:
            self._agent, self._last_index = agent, 0
            self._said.clear()

    def _is_said_first(self, words: str) -> bool:
        if words in self._said:
            return False
        self._said[words] = None
        if len(self._said) > REMEMBERED:
            self._said.popitem(last=False)
        return True
