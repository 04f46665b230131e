"""The optimizers that train what is watched: which, when a step is complete, and its number."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch

if TYPE_CHECKING:
    from tuimon.agent.finding.inventory import Inventory


#: Steps of one optimizer in a round at most: a Wasserstein GAN's critic has 5 for each of the generator's.
MOST_TURNS = 8


class Optimizers:
    """Counts steps over one or several optimizers.

    Optimizers that take turns (a GAN) form a round: a step is complete when each known one has stepped. One
    may have several turns in a round; after `MOST_TURNS` the others are no longer waited for until they step
    again. Optimizers are held weakly.
    """

    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory
        self._positions: WeakKeyDictionary[torch.optim.Optimizer, list[int]] = WeakKeyDictionary()
        self._sizes: WeakKeyDictionary[torch.optim.Optimizer, int] = WeakKeyDictionary()
        self._resting: weakref.WeakSet[torch.optim.Optimizer] = weakref.WeakSet()
        #: Turns in the open round, by identity.
        self._turns: dict[int, int] = {}
        #: Who is awaited in every round (None: to be found out), and how many were known then.
        self._expected: set[int] | None = None
        self._expected_of = 0
        #: Who is still awaited in the open round; None: all that are expected and had no turn.
        self._awaited: set[int] | None = None
        #: Steps (rounds) since the watch began, and those before it.
        self.steps = 0
        self._earlier: int | None = None
        #: Whether an optimizer came, or changed its parameters, since somebody set this to False.
        self.changed = False

    def forget_positions(self) -> None:
        """After the inventory changed: parameters stand elsewhere. Who takes turns stays known."""
        for optimizer in list(self._positions):
            self._positions[optimizer] = self._inventory.positions(optimizer)
        self._expected = None

    def positions(self, optimizer: torch.optim.Optimizer) -> list[int]:
        """Positions of the watched parameters that it steps; empty for an optimizer of something else."""
        size = sum(len(group["params"]) for group in optimizer.param_groups)
        known = self._positions.get(optimizer)
        if known is None or self._sizes.get(optimizer) != size:
            known = self._positions[optimizer] = self._inventory.positions(optimizer)
            self._sizes[optimizer] = size
            self._expected = None
            self.changed = True
        return known

    @property
    def known(self) -> list[torch.optim.Optimizer]:
        """The living optimizers that step something watched, in the order first seen."""
        return [optimizer for optimizer, mine in self._positions.items() if mine]

    def has_stepped(self, optimizer: torch.optim.Optimizer) -> bool:
        """Whether this optimizer already stepped in the round that is open."""
        return id(optimizer) in self._turns

    @property
    def complete(self) -> bool:
        """Whether each known optimizer has stepped in the open round."""
        return bool(self._turns) and not self._missing()

    def _missing(self) -> set[int]:
        # Asked at every step, and an optimizer per parameter makes hundreds: found out when somebody comes
        # or goes only.
        if self._expected is None or len(self._positions) != self._expected_of:
            self._expected = {id(other) for other in self.known if other not in self._resting}
            self._expected_of, self._awaited = len(self._positions), None
        if self._awaited is None:
            self._awaited = self._expected.difference(self._turns)
        return self._awaited

    def stepped(self, optimizer: torch.optim.Optimizer) -> bool:
        """Note a step; return whether the round is complete with it."""
        if self._earlier is None:
            self._earlier = max(0, (steps_of(optimizer) or 1) - 1)
        if self._resting and optimizer in self._resting:
            self._resting.discard(optimizer)
            self._expected = None
        turns = self._turns[id(optimizer)] = self._turns.get(id(optimizer), 0) + 1
        missing = self._missing()
        missing.discard(id(optimizer))
        if turns >= MOST_TURNS and missing:
            self._resting.update(other for other in self.known if id(other) in missing)
            self._expected = None
            return True
        return not missing

    def close_round(self) -> None:
        """Count the open round as a step."""
        self._turns, self._awaited = {}, None
        self.steps += 1

    @property
    def step(self) -> int:
        """Steps since training began, where the optimizer's state tells, else since the watch began."""
        return self.steps + (self._earlier or 0)

    def learning_rates(self) -> tuple[float | None, ...]:
        """The rate of every parameter group; None for one that lies on a device."""
        groups = (group for optimizer in self.known for group in optimizer.param_groups)
        return tuple(_number(group.get("lr")) for group in groups)

    def names(self) -> tuple[str, ...]:
        """Class names of the known optimizers."""
        return tuple(type(optimizer).__name__ for optimizer in self.known)


def steps_of(optimizer: torch.optim.Optimizer) -> int | None:
    """Steps that this optimizer's own state has counted; None where it keeps no count."""
    for state in optimizer.state.values():
        value = _number(state.get("step")) if isinstance(state, dict) else None
        if value is not None:
            return int(value)
    return None


def _number(value: Any) -> float | None:
    if isinstance(value, torch.Tensor):
        return float(value) if value.is_cpu and value.numel() == 1 else None
    return float(value) if isinstance(value, (int, float)) else None
