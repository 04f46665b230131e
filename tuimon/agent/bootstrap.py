"""Loads tuimon, by path, into a process that has never heard of it. Standard library only; it runs by itself.

What stands beside tuimon (another environment's packages) stays out: `sys.path` and `__main__` are not
touched. Used by the line that an attacher injects (`inject`) and by `tuimon run` (`load`, `begin`).
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import importlib.machinery
import importlib.util
import json
import os
import pkgutil
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

PACKAGES = ("tuimon", "tuimon_kernels")
#: What runs in the training process, and in an archive must be imported before the archive goes.
ROOMS = ("tuimon.records", "tuimon.wire", "tuimon.agent")

#: Names in the folder of an injection.
ARCHIVE, OPTIONS, REPORT, SCRIPT = "tuimon.zip", "options.json", "report", "line.py"
#: Size of the report, made by the attacher: written in place, a disk that is full is no obstacle.
REPORT_BYTES = 4096

#: While it is loaded beside a training: how long other threads wait for the interpreter, seconds (Python's
#: own choice is ten times that, for each of a step's some hundred calls), ...
_SWITCH_S = 0.0005
#: ... and the rest after each module, in times of what it took.
_REST = 2.0
_LONGEST_REST_S = 0.02
#: Meanwhile the garbage collector goes through young objects only. Numba's import brings it to go through all
#: of them three times, with the interpreter held for 50 to 115 ms each (2 cores, 0.3 million objects).
_NEVER = 1_000_000
#: How long a fork waits at most for an import that is under way, seconds; Numba's takes some two.
_LONGEST_IMPORT_S = 10.0


class CannotServe(RuntimeError):
    """The process has a tuimon of its own, which cannot do what is asked."""


def load(source: str, kernels: str | None = None, *, protocol: int | None = None) -> None:
    """Make `tuimon` and `tuimon_kernels` importable from `source`, or use those imported already.

    From an archive all that the training side needs is imported at once, so the archive may vanish; from a
    directory the rest is found there later.

    Args:
        source: the directory in which both packages stand (or this project's checkout), or a zip archive.
        kernels: another directory for `tuimon_kernels`: one that stays, where compiled kernels are cached.
        protocol: the version of the wire that viewers will speak, by default any.

    Raises:
        CannotServe: the tuimon that the process imported itself is too old, or of another protocol.
        ImportError: there is no tuimon in `source`, or something that it needs is missing (torch, numpy).
    """
    if "tuimon" in sys.modules:
        _check_own(protocol)
        return
    before = set(sys.modules)
    try:
        _import_package("tuimon", [source])
        if "tuimon_kernels" not in sys.modules:
            places = [source, os.path.join(source, "kernels")]
            _import_package("tuimon_kernels", places if kernels is None else [kernels, *places])
        if os.path.isfile(source):
            _import_all()
    except BaseException:
        for name in set(sys.modules) - before:
            if name.partition(".")[0] in PACKAGES:
                del sys.modules[name]
        raise
    finally:
        _forget_archive(source)


def begin(source: str, options: Mapping[str, Any], kernels: str | None = None) -> None:
    """Load tuimon and begin to watch this process; see `load` and `tuimon.agent.enter.enter`."""
    load(source, kernels, protocol=options.get("protocol"))
    importlib.import_module("tuimon.agent.enter").enter(options)


def inject(folder: str) -> None:
    """What the injected line calls, on a thread of its own: begin as the attacher's folder says.

    The folder holds the archive, the options and the report. Its names are taken away here as soon as all is
    loaded, for the attacher may be gone; it reads the report through a descriptor that it holds.
    A folder that has vanished means that the attacher has given up: then nothing happens.
    """
    # A thread of the threading module, for which no stand-in stays in its tables.
    threading.Thread(target=_injected, args=(folder,), name="tuimon-entering", daemon=True).start()


def _injected(folder: str) -> None:
    try:
        with open(os.path.join(folder, OPTIONS), encoding="utf-8") as file:
            options = json.load(file)
        report = os.open(os.path.join(folder, REPORT), os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        _tell(report, state="started")
        # With all of it there already, there is nothing to be gentle about.
        with contextlib.nullcontext() if "tuimon" in sys.modules else gently():
            load(os.path.join(folder, ARCHIVE), options.get("kernels"), protocol=options.get("protocol"))
            enter = importlib.import_module("tuimon.agent.enter").enter
        _remove(folder)
        enter(options)
        _tell(report, state="entered")
    except BaseException as error:  # nothing may reach the training, and the attacher says it
        # Whatever the disk does then, the training goes on.
        with contextlib.suppress(BaseException):
            _tell(report, state="failed", error=f"{type(error).__name__}: {error}")
    finally:
        os.close(report)
        _remove(folder)
        _forget_archive(os.path.join(folder, ARCHIVE))


def _tell(report: int, **what: str) -> None:
    text = json.dumps(what).encode()
    if len(text) > REPORT_BYTES:
        text = json.dumps({**what, "error": what["error"][: REPORT_BYTES // 8]}).encode()
    os.pwrite(report, text.ljust(REPORT_BYTES), 0)


def _remove(folder: str) -> None:
    for name in (ARCHIVE, OPTIONS, REPORT, SCRIPT):
        with contextlib.suppress(OSError):
            os.unlink(os.path.join(folder, name))
    with contextlib.suppress(OSError):
        os.rmdir(folder)


def _check_own(protocol: int | None) -> None:
    own = sys.modules["tuimon"]
    version = getattr(own, "__version__", "of an unknown version")
    try:
        spoken = importlib.import_module("tuimon.wire.envelope").WIRE_VERSION
        importlib.import_module("tuimon.agent.enter")
    except (ImportError, AttributeError) as error:
        raise CannotServe(f"its own tuimon, {version}, cannot be entered from outside ({error})") from None
    if protocol is not None and spoken != protocol:
        raise CannotServe(f"its own tuimon, {version}, speaks protocol {spoken}, not {protocol}")


def _import_package(name: str, places: list[str]) -> None:
    # The usual machinery, on a path of our own. Submodules are found by the package's `__path__`.
    spec = importlib.machinery.PathFinder.find_spec(name, places)
    if spec is None or spec.loader is None:
        raise ImportError(f"there is no {name} in {places[0]}", name=name)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)


def _import_all() -> None:
    for room in ROOMS:
        package = importlib.import_module(room)
        for found in pkgutil.walk_packages(package.__path__, room + "."):
            importlib.import_module(found.name)
    # The others need numba: they are used from a directory that stays, or not at all.
    importlib.import_module("tuimon_kernels.reference")


def _forget_archive(source: str) -> None:
    """Take an archive, and what Python remembers of its contents, out of the import system's caches."""
    if os.path.isdir(source):
        return
    for path in [path for path in sys.path_importer_cache if path.startswith(source)]:
        sys.path_importer_cache.pop(path, None)
    zips = getattr(sys.modules.get("zipimport"), "_zip_directory_cache", {})
    zips.pop(source, None)


class _Rests:
    """A finder that finds nothing: at each import of its thread it first lets others have the interpreter."""

    def __init__(self) -> None:
        self._thread = threading.get_ident()
        self._used_s = time.thread_time()

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Rest in proportion to the work since the last rest."""
        if threading.get_ident() != self._thread:
            return
        time.sleep(min((time.thread_time() - self._used_s) * _REST, _LONGEST_REST_S))
        self._used_s = time.thread_time()


class _Forks:
    """Keeps forks waiting while modules are imported in a thread.

    A child that was forked in the middle would wait for ever for a module that nobody imports there any more.
    """

    def __init__(self) -> None:
        self.importing = threading.RLock()
        #: Whether the fork that is under way holds the lock; threads fork one at a time.
        self._holds = False
        self._known = False

    def know(self) -> None:
        """Have forks ask here; once, since that cannot be taken back."""
        if not self._known:
            self._known = True
            os.register_at_fork(before=self.before, after_in_parent=self.after, after_in_child=self.after)

    def before(self) -> None:
        """Wait, but not for ever: whatever happens here, the training goes on."""
        self._holds = self.importing.acquire(timeout=_LONGEST_IMPORT_S)

    def after(self) -> None:
        """In the parent and in the child."""
        if self._holds:
            self._holds = False
            self.importing.release()


_forks = _Forks()


@contextlib.contextmanager
def gently() -> Iterator[None]:
    """While this lasts, what this thread imports costs the thread that trains as little as can be.

    A fork waits until it is over, so that no child inherits modules that are half imported.
    """
    _forks.know()
    with _forks.importing, _at_leisure():
        yield


@contextlib.contextmanager
def _at_leisure() -> Iterator[None]:
    before, thresholds, rests = sys.getswitchinterval(), gc.get_threshold(), _Rests()
    ours, patient = min(before, _SWITCH_S), (*thresholds[:2], _NEVER)
    sys.setswitchinterval(ours)
    gc.set_threshold(*patient)
    sys.meta_path.insert(0, rests)
    try:
        yield
    finally:
        sys.meta_path.remove(rests)
        # Unless the training has chosen others meanwhile.
        if abs(sys.getswitchinterval() - ours) < 1e-6:
            sys.setswitchinterval(before)
        if gc.get_threshold() == patient:
            gc.set_threshold(*thresholds)
