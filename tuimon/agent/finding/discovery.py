"""Finding the models of a process that never named them: from whom an optimizer steps, and who is called.

A *search* runs from one step of an optimizer whose parameters are not known to its next one (or from the
attach to the first one, if all forwards in between were seen from their beginning). Roots are the modules
called from outside of any other that own some of those parameters; copies that no optimizer steps, such as
averages, own none. Where that does not explain all parameters with one root, every object of the process is
looked at once, on the publisher's thread. What no module owns is watched by number.
"""

from __future__ import annotations

import sys
import time
import weakref
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from torch.optim import Optimizer

from tuimon.agent.finding.forwards import Forwards, compiled_code
from tuimon.agent.finding.scan import frozen, living, outermost_modules
from tuimon.agent.pacing.meter import clock

if TYPE_CHECKING:
    from torch import nn

    from tuimon.agent.finding.inventory import Inventory
    from tuimon.agent.guard import Guard
    from tuimon.agent.pacing.meter import Meter

#: A search that found nothing is repeated after this long, then after twice that, and so on up to the last.
FIRST_PAUSE_S, LAST_PAUSE_S = 1.0, 64.0
#: Once an optimizer has taken so many steps in a search, nobody is waited for any more who took but one.
LONGEST_SEARCH = 16

#: Before anything was found.
WAITING = "no step of an optimizer has been seen yet"


class Discovery:
    """Adds to the inventory what optimizers step.

    Args:
        inventory: what is watched.
        guard: takes errors of hooks.
        meter: counts what looking costs.
        elsewhere: runs a function soon, on another thread than the training's.
    """

    def __init__(
        self,
        inventory: Inventory,
        guard: Guard,
        meter: Meter,
        elsewhere: Callable[[Callable[[], None]], None],
    ) -> None:
        self._inventory, self._meter, self._elsewhere = inventory, meter, elsewhere
        self._forwards = Forwards(guard, meter)
        #: Whether a search is on.
        self.searching = False
        #: Whether all forwards seen in this search were seen from their beginning.
        self._whole = False
        #: Steps of each optimizer in this search; and of those alone that are not explained yet.
        self._steps: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
        self._turns: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
        self._long = self._grew = False
        #: The modules that no other owns, once they were looked for.
        self._scanned: list[weakref.ref[nn.Module]] | None = None
        self._scanning = False
        self._pause_s, self._next_s = FIRST_PAUSE_S, 0.0
        #: Optimizers of nothing that a module owns.
        self._strangers: weakref.WeakSet[Any] = weakref.WeakSet()
        #: Why models, or names of parameters, are missing; None when none are.
        self.reason: str | None = WAITING

    def start(self) -> None:
        """Begin the first search. From any thread."""
        self._turns, self._steps = WeakKeyDictionary(), WeakKeyDictionary()
        self._long = self._grew = False
        self._scanned, self._scanning = None, False
        self.searching = True
        if compiled_code():
            # Hooks that are called for every module would have all that is compiled made anew.
            self._scan()
        else:
            self._whole = self._forwards.watch()

    def look_now(self) -> None:
        """Add all that the process's optimizers step, in the middle of a step whose forward has passed.

        On the thread that trains. What is not found so is searched for as usual (`start`).
        """
        start_s = clock()
        roots = [root for known in outermost_modules() if (root := known()) is not None]
        for optimizer in living(Optimizer):
            # Some stand for another one, which is here as well.
            if "param_groups" in vars(optimizer) and (unknown := self._inventory.unknown(optimizer)):
                self._add(owners(roots, unknown))
        self._meter.settle(start_s)

    def stop(self) -> None:
        """Leave no hook behind. From any thread; idempotent."""
        self.searching = False
        self._forwards.stop()

    def stepped(self, optimizer: Any) -> bool:
        """Look at an optimizer that has stepped; return whether the inventory has grown.

        To be called at the end of each step while searching, and when its parameters may not all be known.
        """
        unknown = self._inventory.unknown(optimizer)
        if not self.searching:
            if not unknown or clock() < self._next_s:
                return False
            # A critic whose forward was seen when the generator was searched for.
            if self._add_single(unknown):
                return True
            self.start()
        turns = self._steps[optimizer] = self._turns[optimizer] = self._steps.get(optimizer, 0) + 1
        self._long = self._long or turns >= LONGEST_SEARCH
        grown = bool(unknown) and self._explain(optimizer, unknown, turns)
        self._grew = self._grew or grown
        if not self._inventory.unknown(optimizer):
            self._turns.pop(optimizer, None)
        self._conclude()
        return grown

    def _conclude(self) -> None:
        """Leave the forwards alone once all have had their turns, and end with the last one explained."""
        if self._long or all(turns > 1 for turns in self._turns.values()):
            self._forwards.stop()
        waiting = self._scanning and self._scanned is None
        if not self._turns or (self._long and not waiting):
            self._end()

    def _explain(self, optimizer: Any, unknown: set[int], turns: int) -> bool:
        """Find who owns these parameters (by identity); return whether the inventory has grown."""
        if self._scanned is not None:
            return self._take(self._scanned, optimizer, unknown)
        if not self._scanning and (self._forwards.gave_up or not self._whole):
            # At this border of a step no forward runs.
            self._forwards.watch()
            self._whole = True
            return False
        if calls_methods():
            if not self._scanning:
                self._scan()
            return False
        if self._add_single(unknown):
            return True
        if turns > 1 and not self._scanning:
            self._scan()
        return False

    def _add_single(self, unknown: set[int]) -> bool:
        """Add the one root that was called and owns all of these parameters, if there is one."""
        roots = owners(self._forwards.roots(), unknown)
        if len(roots) != 1 or unknown - owned(roots[0]):
            return False
        self._add(roots)
        return True

    def _take(self, scanned: list[weakref.ref[nn.Module]], optimizer: Any, unknown: set[int]) -> bool:
        """What the scan and all else tells; there is nothing more to wait for."""
        self._turns.pop(optimizer, None)
        found = [root for known in scanned if (root := known()) is not None]
        if calls_methods() and self._add_parts(found, unknown):
            return True
        roots = owners(found, unknown) or owners(self._forwards.roots(), unknown)
        self._add(roots)
        if not self._inventory.unknown(optimizer):
            return bool(roots)
        return self._number(optimizer) or bool(roots)

    def _add_parts(self, models: list[nn.Module], unknown: set[int]) -> bool:
        """Add what was called of a model that is not called itself, if that is all of these parameters."""
        called = owners(self._forwards.roots(), unknown)
        if not called or unknown.difference(*map(owned, called)):
            return False
        wanted = {id(root) for root in called}
        places = {id(m): place for model in models for place, m in model.named_modules() if id(m) in wanted}
        for root in called:
            if place := places.get(id(root)):
                self._inventory.add_part(root, place)
            else:
                self._inventory.add(root, None)
        self.reason = None
        return True

    def _add(self, roots: list[nn.Module]) -> None:
        for root in roots:
            self._inventory.add(root, None)
        if roots:
            self.reason = None

    def _number(self, optimizer: Any) -> bool:
        """Watch by number what no module owns, if this optimizer is a part of the training.

        It is when it steps other things too, or when nothing else is trained, or when it is still there
        some time later: one for an adversarial example lives for a moment.
        """
        part = self._inventory.positions(optimizer) or not self._inventory.parameters
        if not part and optimizer not in self._strangers:
            self._strangers.add(optimizer)
            return False
        hidden = ", and gc.freeze has hidden some objects" if frozen() else ""
        self._inventory.add_loose(optimizer)
        named = "numbered" if self._inventory.numbered else "named as the script's variables are"
        self.reason = f"no module was found that owns all that is trained{hidden}; the rest is {named}"
        return True

    def _scan(self) -> None:
        self._scanning = True

        def look() -> None:
            if self.searching:
                start_s = time.thread_time()
                self._scanned = outermost_modules()
                self._meter.own_s += time.thread_time() - start_s

        self._elsewhere(look)

    def _end(self) -> None:
        self.stop()
        self._pause_s = FIRST_PAUSE_S if self._grew else min(2 * self._pause_s, LAST_PAUSE_S)
        self._next_s = 0.0 if self._grew else clock() + self._pause_s
        self._turns, self._scanned = WeakKeyDictionary(), None


def calls_methods() -> bool:
    """Whether a framework is here that calls a model's methods, and so its parts as if from outside."""
    return any(name in sys.modules for name in ("lightning.pytorch", "pytorch_lightning"))


def owners(candidates: Iterable[nn.Module], wanted: set[int]) -> list[nn.Module]:
    """Those that own some of the parameters (by identity), outermost ones only, without duplicates.

    Of two that own the same, the one with fewer other parameters.
    """
    found = [(root, own) for root in candidates if (own := owned(root)) & wanted]
    inner = {id(module) for root, _ in found for module in root.modules() if module is not root}
    found = [(root, own) for root, own in found if id(root) not in inner]
    found.sort(key=lambda one: (-len(one[1] & wanted), len(one[1])))
    left, chosen = set(wanted), []
    for root, own in found:
        if own & left:
            left -= own
            chosen.append(root)
    return chosen


def owned(root: nn.Module) -> set[int]:
    """Its parameters, by identity."""
    return {id(parameter) for parameter in root.parameters()}
