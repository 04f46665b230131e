"""The loss terms of one observed step, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tuimon.agent.loss.tally import Tally

if TYPE_CHECKING:
    from tuimon.agent.loss.readings import Reading
    from tuimon.records.criterion import Criterion

#: Calls of one function before a backward that are told apart. A loss called for each step in time, or for
#: each sample, is one term.
MOST_TERMS = 8
#: Calls in a step whose labels are read: of a loss called a thousand times these are enough.
LABELLED_CALLS = 32


class Terms:
    """Sorts calls into terms.

    The second call of a function is another term, unless backward ran in between: then it is the next
    microbatch of the first. After an optimizer's step the terms are others again (a GAN).
    """

    def __init__(self) -> None:
        #: By function, turn, and position among the function's calls of a microbatch.
        self._tallies: dict[tuple[str, int, int], Tally] = {}
        self._positions: dict[str, int] = {}
        self._turn = self._read = 0
        #: Whether an optimizer is stepping, and whether the closure that it calls has run once.
        self._in_step = self._closed = False

    @property
    def wants_labels(self) -> bool:
        """Whether the labels of the next call are to be read."""
        return self._read < LABELLED_CALLS

    def add(self, function: str, reading: Reading) -> None:
        """Take one call. An optimizer that calls its closure again and again has shown its loss once."""
        if self._closed:
            return
        self._read += 1
        position = self._positions.get(function, 0)
        self._positions[function] = position + 1
        key = function, self._turn, position
        if key not in self._tallies:
            self._tallies[key] = Tally(function)
        self._tallies[key].add(reading)

    def begin_backward(self) -> None:
        """The calls so far belong to one microbatch, those that follow to the next."""
        self._positions = {}
        self._closed = self._in_step

    def begin_step(self) -> None:
        """An optimizer begins to step."""
        self._in_step = True

    def end_step(self) -> None:
        """It has stepped: what follows is another's."""
        self._in_step = self._closed = False
        self._positions = {}
        self._turn += 1

    def summed(self, calls: int) -> int | None:
        """Elements of the only term, if it is a sum and was called so often; else None."""
        tallies = list(self._tallies.values())
        if len(tallies) != 1 or tallies[0].reduction != "sum" or tallies[0].calls != calls:
            return None
        return tallies[0].n

    def criteria(self) -> tuple[Criterion, ...]:
        """All terms, in the order first called."""
        named: dict[str, list[Tally]] = {}
        for tally in self._tallies.values():
            named.setdefault(tally.function, []).append(tally)
        for several in named.values():
            if len(several) > MOST_TERMS:
                for tally in several[1:]:
                    several[0].merge(tally)
                del several[1:]
        names = {
            id(tally): function if i == 0 else f"{function}.{i}"
            for function, several in named.items()
            for i, tally in enumerate(several)
        }
        kept = [tally for tally in self._tallies.values() if id(tally) in names]
        return tuple(tally.of_step(names[id(tally)]) for tally in kept)
