"""What is watched: the roots, their parameters by name, and the modules whose outputs are read."""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import nn

from tuimon.agent.finding.names import script_names
from tuimon.agent.reading.points import Point

if TYPE_CHECKING:
    import torch

#: What DDP puts before all names; only there, since layers of that name exist.
BEFORE = "module"
#: What `torch.compile`, FSDP and checkpoint wrappers put into names, wherever they wrap a layer.
WITHIN = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")


@dataclass(slots=True, eq=False)
class WatchedParameter:
    """One parameter, with the module that owns it."""

    name: str
    tensor: nn.Parameter
    #: Index into `Inventory.points`; None for one that no module owns.
    point: int | None
    #: An embedding's gradient is sparse by design.
    sparse_by_design: bool


class Inventory:
    """Parameters and points of all roots, in order of registration.

    Roots are held weakly: a model that the training replaced is forgotten, not kept alive.
    """

    def __init__(self, on_death: Callable[[], None]) -> None:
        self._roots: dict[str, weakref.ref[nn.Module]] = {}
        #: Names of roots that are their places in something larger: they stand before all that is in them.
        self._places: set[str] = set()
        #: Whether modules inside of compiled code can be seen all the same.
        self.compiled_show = False
        #: Those that step parameters which no module owns.
        self._loose: list[weakref.ref[Any]] = []
        #: How many parameters have a number for a name.
        self.numbered = 0
        self._on_death = on_death
        self.parameters: list[WatchedParameter] = []
        self.points: list[Point] = []
        self._position: dict[int, int] = {}
        self._signature: tuple[int, ...] = ()

    def add(self, root: nn.Module, name: str | None) -> None:
        """Watch one more root; watching the same one again changes nothing."""
        if any(known() is root for known in self._roots.values()):
            return
        wanted = name or type(root).__name__
        taken = sum(1 for known in self._roots if known == wanted or known.startswith(wanted + "-"))
        self._roots[f"{wanted}-{taken + 1}" if taken else wanted] = weakref.ref(root, self._died)
        self.refresh()

    def add_part(self, root: nn.Module, place: str) -> None:
        """Watch one more root that is a part, by this dotted name, of a model that is never called itself."""
        self._places.add(place)
        self.add(root, place)

    def add_loose(self, optimizer: Any) -> None:
        """Watch also what this optimizer steps and no module owns, by the script's names or "parameter.0"."""
        if all(known() is not optimizer for known in self._loose):
            self._loose.append(weakref.ref(optimizer, self._died))
            self.refresh()

    def remove(self, root: nn.Module) -> None:
        """Stop watching a root."""
        self._roots = {name: known for name, known in self._roots.items() if known() is not root}
        self.refresh()

    def _died(self, _: weakref.ref[Any]) -> None:
        # May run at any time, in any thread: only let go, the next step takes stock.
        self.parameters, self.points, self._position, self._signature = [], [], {}, ()
        self._on_death()

    def roots(self) -> Iterator[tuple[str, nn.Module]]:
        """The living roots with the prefix of their names ("" for a single one)."""
        living = [(name, root) for name, known in self._roots.items() if (root := known()) is not None]
        for name, root in living:
            yield (f"{name}." if len(living) > 1 or name in self._places else ""), root

    @property
    def evaluates(self) -> bool:
        """Whether there are roots, and all of them are in eval mode. 0.3 us for one."""
        found = False
        for known in tuple(self._roots.values()):
            root = known()
            if root is not None:
                if root.training:
                    return False
                found = True
        return found

    def refresh(self) -> bool:
        """Take stock again; return whether parameters or modules came, went or changed places."""
        found = tuple(id(x) for _, root in self.roots() for x in (*root.modules(), *root.parameters()))
        found += tuple(id(p) for p in self._stepped())
        if found == self._signature:
            return False
        self._signature = found
        known = {id(point.module): point for point in self.points}
        self.parameters, self.points = [], []
        for prefix, root in self.roots():
            self._take(prefix, root, known)
        self._take_loose()
        self._position = {id(p.tensor): i for i, p in enumerate(self.parameters)}
        return True

    def _take(self, prefix: str, root: nn.Module, known: dict[int, Point]) -> None:
        seen = {id(p.tensor) for p in self.parameters}
        compiled = () if self.compiled_show else _compiled(root)
        for path, module in root.named_modules():
            own = dict(module.named_parameters(recurse=False))
            if not own and next(module.children(), None) is not None:
                continue
            name = (prefix + plain(path)).rstrip(".") or type(module).__name__
            point = known.get(id(module)) or Point(name, module, 0)
            point.name, point.index = name, len(self.points)
            point.compiled = f"{path}.".startswith(compiled)
            self.points.append(point)
            sparse = isinstance(module, (nn.Embedding, nn.EmbeddingBag))
            for leaf, tensor in own.items():
                if id(tensor) not in seen:
                    seen.add(id(tensor))
                    full = prefix + plain(f"{path}.{leaf}" if path else leaf)
                    self.parameters.append(WatchedParameter(full, tensor, point.index, sparse))

    def _stepped(self) -> Iterator[nn.Parameter]:
        """The parameters of the optimizers that step what no module owns, and maybe others."""
        self._loose = [known for known in self._loose if known() is not None]
        for optimizer in [known() for known in self._loose]:
            for group in optimizer.param_groups if optimizer is not None else ():
                yield from group["params"]

    def _take_loose(self) -> None:
        owned = {id(p.tensor) for p in self.parameters}
        loose = {id(p): p for p in self._stepped() if id(p) not in owned}
        taken = {p.name for p in self.parameters}
        names = script_names(loose.values()) if loose else {}
        names = {key: name for key, name in names.items() if name not in taken}
        for number, (key, tensor) in enumerate(loose.items()):
            name = names.get(key, f"parameter.{number}")
            self.parameters.append(WatchedParameter(name, tensor, None, False))
        self.numbered = len(loose) - len(names)

    def unknown(self, optimizer: Any) -> set[int]:
        """Identities of what this optimizer steps and is not among the parameters."""
        groups = optimizer.param_groups
        return {id(p) for group in groups for p in group["params"]}.difference(self._position)

    def positions(self, optimizer: torch.optim.Optimizer) -> list[int]:
        """Indices into `parameters` of what this optimizer steps, in the order of registration."""
        groups = optimizer.param_groups
        mine = {self._position.get(id(p)) for group in groups for p in group["params"]}
        return sorted(i for i in mine if i is not None)

    def position(self, tensor: object) -> int | None:
        """Where this parameter stands in `parameters`; None for another tensor."""
        return self._position.get(id(tensor))

    def has_any(self, tensors: Iterable[object]) -> bool:
        """Whether one of these is a parameter that is watched."""
        return any(id(tensor) in self._position for tensor in tensors)

    @property
    def dtypes(self) -> tuple[str, ...]:
        """Data types of the parameters, most frequent by elements first."""
        sizes: Counter[str] = Counter()
        for p in self.parameters:
            sizes[str(p.tensor.dtype).removeprefix("torch.")] += p.tensor.numel()
        return tuple(name for name, _ in sizes.most_common())

    @property
    def devices(self) -> tuple[str, ...]:
        """Devices that hold parameters."""
        return tuple(sorted({str(p.tensor.device) for p in self.parameters}))


def compiles(root: nn.Module) -> bool:
    """Whether calling this module runs compiled code: `torch.compile(model)` or `model.compile()`."""
    return "_orig_mod" in root._modules or runs_compiled(root)


def runs_compiled(root: nn.Module) -> bool:
    """Whether it was compiled in place (`model.compile()`), its own hooks with it."""
    return root.__dict__.get("_compiled_call_impl") is not None


def plain(path: str) -> str:
    """A dotted name as the user knows it: without what wrappers of the model, and of layers, put into it."""
    parts = [part for part in path.split(".") if part not in WITHIN]
    while parts and parts[0] == BEFORE:
        del parts[0]
    return ".".join(parts)


def _compiled(root: nn.Module) -> tuple[str, ...]:
    """Paths of the modules that run compiled code, with a dot behind; "" is the root itself."""
    return tuple(f"{path}." if path else "" for path, module in root.named_modules() if compiles(module))
