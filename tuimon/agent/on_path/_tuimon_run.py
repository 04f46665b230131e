"""Waits for the first step of a training in this process, then starts the agent in it.

Nothing happens before that: a launcher, a worker that loads data or compiles, a tracker of resources
never takes a step, and so never gets an agent. Until torch is imported there is one more entry in
`sys.meta_path`; from then until the first step, a hook for optimizers and a wrapper around backward.

Loaded by its name from a directory that holds nothing else, in interpreters where tuimon is not
installed: standard library only, and none of it that an interpreter does not have loaded anyway.
"""

from __future__ import annotations

# What would have to be loaded for it (json, functools and so on) torch has loaded when it is needed.
import atexit
import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

#: What `tuimon run` wants of the processes below it, as JSON; see `tuimon.attach.meeting`.
VARIABLE = "TUIMON_RUN"
AGENT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
#: In the meeting's folder: the process that `tuimon run` has heard from and follows.
FOLLOWED = "followed"
#: And, for each process, where it finds compiled kernels.
KERNELS = "kernels-"
#: `tuimon run` looks ten times a second, and has loaded all it needs when torch is imported here.
HEARD_TIMEOUT_S = 5.0


def begin(environment: Mapping[str, str] = os.environ) -> None:
    """Arm this process, if `tuimon run` asks for it. Never raises."""
    try:
        if VARIABLE not in environment:
            return
        start = FirstStep(environment[VARIABLE])
        if "torch" in sys.modules:  # a .pth file imported it
            start.arm()
        else:
            sys.meta_path.insert(0, AfterImport("torch", start.arm))
        os.register_at_fork(after_in_child=start.arm_child)
    except Exception:
        return


class AfterImport:
    """Finds one module as if it were not there, and calls `then` once that has been imported."""

    def __init__(self, name: str, then: Callable[[], None]) -> None:
        self._name, self._then = name, then

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """What the other finders find, for that one module; for every other none, at the cost of a call."""
        if name != self._name:
            return None
        for finder in sys.meta_path:
            find = None if finder is self else getattr(finder, "find_spec", None)
            spec: ModuleSpec | None = None if find is None else find(name, path, target)
            if spec is not None:
                if hasattr(spec.loader, "exec_module"):
                    spec.loader = _Loader(spec.loader, self._imported)  # type: ignore[assignment]
                return spec
        return None

    def _imported(self) -> None:
        # Another list: a thread that imports may be walking through this one.
        sys.meta_path = [finder for finder in sys.meta_path if finder is not self]
        self._then()


class _Loader:
    """A module's own loader, and a call after it has run. The module never gets to see it."""

    def __init__(self, loader: Any, then: Callable[[], None]) -> None:
        self._loader, self._then = loader, then

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        made: ModuleType | None = self._loader.create_module(spec)
        return made

    def exec_module(self, module: ModuleType) -> None:
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        module.__loader__ = self._loader
        self._loader.exec_module(module)
        self._then()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)


class FirstStep:
    """Starts the agent at the first backward or optimizer step in this process, before it happens."""

    def __init__(self, order: str) -> None:
        self._text = order
        self._order: Mapping[str, Any] = {}
        #: Whether the first step has come; from then on nothing of this is in the training any more.
        self.fired = False
        self._backward: Any = None
        self._steps: Any = None

    def arm(self) -> None:
        """Wait for the first step; torch has just been imported. Never raises."""
        self._guarded(self._read)
        self._tell("torch")
        self._guarded(self._arm)

    def arm_child(self) -> None:
        """In the child of a fork: it may be a rank, whose parent trained before. Never raises."""
        if self.fired:
            self._guarded(self._arm)

    def _read(self) -> None:
        import json

        self._order = json.loads(self._text)

    def _arm(self) -> None:
        self.fired = False
        autograd = sys.modules["torch.autograd"]
        # Every backward ends in the first one, that of `torch.autograd.grad` too; its name is private.
        name = "_engine_run_backward" if hasattr(autograd, "_engine_run_backward") else "backward"
        self._backward = _Patch(autograd, name, self._fire)
        tables = _module("finding/tables")
        optimizer = sys.modules["torch.optim.optimizer"]
        self._steps = tables.HookTable(optimizer, "_global_optimizer_pre_hooks", self._before_step)
        self._steps.put()

    def _before_step(self, *_: Any) -> None:
        self._fire()

    def _fire(self) -> bool:
        """Start the agent, unless that was done, or this is no step; whether it was started now."""
        if self.fired:
            return False
        self._guarded(self._begin)
        return self.fired

    def _begin(self) -> None:
        if _is_tracing():
            return
        self.fired = True
        self._disarm()
        # Within a compiled step torch.compile would trace what is called here.
        dynamo: Any = sys.modules.get("torch._dynamo")
        (self._enter if dynamo is None else dynamo.disable(self._enter))()

    def _disarm(self) -> None:
        self._backward.restore()
        self._steps.take()

    def _enter(self) -> None:
        options = {**self._order["options"], "kernels": self._kernels()}
        _module("bootstrap").begin(os.path.dirname(os.path.dirname(AGENT)), options)
        self._tell("agent")
        # Before the agent's own: what is registered last runs first, or what has the higher priority.
        from multiprocessing.util import Finalize

        atexit.register(self._wait_to_be_heard, os.getpid())
        Finalize(None, self._wait_to_be_heard, (os.getpid(),), exitpriority=1)

    def _kernels(self) -> str | None:
        """Where compiled kernels for this Python are, if `tuimon run` has found that out by now."""
        try:
            with open(os.path.join(self._order["meeting"], f"{KERNELS}{os.getpid()}")) as file:
                return file.read()
        except OSError:
            return None

    def _wait_to_be_heard(self, pid: int) -> None:
        """At the end of a training so short that `tuimon run` is only about to connect: let it.

        Training is over then. Nobody is waited for who is not there or follows another process, nor by a
        rank that is not the first.
        """
        deadline_s = time.monotonic() + HEARD_TIMEOUT_S
        if os.getpid() != pid or _rank()["rank"] not in (None, 0):
            return
        while time.monotonic() < deadline_s:
            try:
                with open(os.path.join(self._order["meeting"], FOLLOWED)) as file:
                    followed = int(file.read())
                os.kill(followed, 0)
                return
            except FileNotFoundError:
                if not os.path.isdir(self._order["meeting"]):
                    return
            except (OSError, ValueError):
                pass  # whom it followed has ended: this process may be next
            time.sleep(0.01)

    def _guarded(self, act: Callable[[], None]) -> None:
        try:
            act()
        except Exception as error:
            self._tell("failed", error=f"{type(error).__name__}: {error}")

    def _tell(self, what: str, **more: object) -> None:
        """Leave a line for `tuimon run`, which reads along; where that cannot be done, nobody hears it."""
        import json

        if "meeting" not in self._order:
            return
        line = json.dumps({"what": what, "pid": os.getpid(), **_rank(), **more}) + "\n"
        path = os.path.join(self._order["meeting"], str(os.getpid()))
        try:
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError:
            return
        try:
            os.write(file, line.encode())
        except OSError:
            return
        finally:
            os.close(file)


class _Patch:
    """A function of torch that calls `fire` before it does what it does; `restore` puts it back."""

    def __init__(self, owner: ModuleType, name: str, fire: Callable[[], bool]) -> None:
        self._owner, self._name = owner, name
        self._original = original = getattr(owner, name)
        self._restored = False

        from functools import wraps

        @wraps(original)
        def first(*args: Any, **kwargs: Any) -> Any:
            # The agent, started just now, may have put a probe of its own here.
            fresh = fire() and self._restored
            return (getattr(owner, name) if fresh else original)(*args, **kwargs)

        # A compiled function that calls this shall not trace the start of the agent.
        first._torchdynamo_disable = True  # type: ignore[attr-defined]
        self._ours = first
        setattr(owner, name, first)

    def restore(self) -> None:
        """Put back what was there; where somebody wrapped ours meanwhile, it stays, and passes through."""
        if getattr(self._owner, self._name) is self._ours:
            setattr(self._owner, self._name, self._original)
            self._restored = True


def _module(path: str) -> Any:
    """A module of the agent that needs no other, by path: tuimon is not imported before the first step."""
    from importlib.util import module_from_spec, spec_from_file_location

    name = os.path.basename(path)
    spec = spec_from_file_location(f"_tuimon_{name}", os.path.join(AGENT, f"{path}.py"))
    if spec is None or spec.loader is None:
        raise ImportError(name)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _is_tracing() -> bool:
    """Whether tensors are only made believe, as while torch.compile traces: that is no step."""
    torch: Any = sys.modules["torch"]
    depth = getattr(torch._C, "_len_torch_dispatch_stack", None)
    return depth is not None and depth() > 0


def _rank() -> dict[str, int | None]:
    """Which rank this is, as torchrun's variables or torch.distributed tell; None where none is."""
    numbers = {name: os.environ.get(name.upper(), "") for name in ("rank", "local_rank", "world_size")}
    told = {name: int(value) if value.isdecimal() else None for name, value in numbers.items()}
    distributed: Any = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        told["rank"], told["world_size"] = distributed.get_rank(), distributed.get_world_size()
    return told
