"""What the process must read to begin: one folder in its own temporary directory, which is soon gone again.

The attacher's own files will not do: the process may be another user's, or in another mount namespace, and
what stands beside them in that environment must not leak in.
"""

from __future__ import annotations

import functools
import importlib.util
import io
import json
import marshal
import os
import secrets
import stat
import sys
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuimon.attach.injection.acting import acting_as
from tuimon.attach.injection.entry_errors import NoRoom
from tuimon.attach.injection.payload import line
from tuimon.attach.process import PROC, ProcessFacts, environment, root_directory
from tuimon.wire.envelope import WIRE_VERSION

#: Names that `tuimon.agent.bootstrap` knows (this side must not import it); `SCRIPT` is for Python >= 3.14.
ARCHIVE, OPTIONS, REPORT, SCRIPT = "tuimon.zip", "options.json", "report", "line.py"
REPORT_BYTES = 4096

#: What travels of tuimon, beside the modules of the package itself.
_ROOMS = ("records", "wire", "agent")
_KERNELS = "tuimon_kernels"


@dataclass
class Bundle:
    """The folder of one injection. `remove` it in the end, whatever happened."""

    folder: Path
    #: The same as the process sees it.
    inner: str
    #: The report, held open: its name may be gone before it is read.
    _report: int
    #: User and group of all of it.
    _owner: tuple[int, int]

    @property
    def line(self) -> str:
        """What the process's main thread shall run."""
        return line(self.inner, f"{self.inner}/{ARCHIVE}")

    def report(self) -> Mapping[str, str]:
        """What the process says: `state` "started", "entered" or "failed" (and then `error`); or nothing."""
        with suppress(ValueError):
            told = json.loads(os.pread(self._report, REPORT_BYTES, 0).rstrip(b"\0 ").decode(errors="replace"))
            return told if isinstance(told, dict) else {}
        return {}

    def remove(self) -> None:
        """Take all away that is still there. An injection that has not begun will do nothing then."""
        with suppress(OSError), acting_as(*self._owner):
            for name in (ARCHIVE, OPTIONS, REPORT, SCRIPT):
                with suppress(OSError):
                    (self.folder / name).unlink()
            self.folder.rmdir()
        os.close(self._report)


def place(
    facts: ProcessFacts,
    options: Mapping[str, Any],
    version: tuple[int, int] | None = None,
    proc: Path = PROC,
) -> Bundle:
    """Write a bundle where the process can read it, as its user's own.

    Raises:
        NoRoom: no temporary directory of the process takes it.
    """
    # Read beforehand: as that user this installation may be out of reach, such as one in /root.
    zipped = archive(version == sys.version_info[:2])
    tried = []
    for directory in temporary_directories(facts, proc):
        try:
            with acting_as(facts.uid, facts.gid):
                return _write(facts, directory, {"protocol": WIRE_VERSION, **options}, zipped, proc)
        except OSError as error:  # noqa: PERF203
            tried.append(f"{directory}: {error.strerror or error}")
    raise NoRoom(facts.pid, "; ".join(tried))


def temporary_directories(facts: ProcessFacts, proc: Path = PROC) -> list[str]:
    """Where the process may have its temporary files, as it sees them."""
    named = environment(facts, proc).get("TMPDIR", "")
    candidates = [*([named] if named.startswith("/") else []), "/tmp", "/var/tmp", "/dev/shm"]
    return list(dict.fromkeys(os.path.normpath(one) for one in candidates))


def _write(
    facts: ProcessFacts,
    directory: str,
    options: Mapping[str, Any],
    zipped: bytes,
    proc: Path,
) -> Bundle:
    root = root_directory(facts, proc)
    name = f"tuimon-{facts.inner_pid}-{secrets.token_hex(4)}"
    folder = root / directory.lstrip("/") / name
    _check_no_links(root, directory)
    folder.mkdir(0o700)
    bundle = None
    try:
        (folder / REPORT).write_bytes(bytes(REPORT_BYTES))
        report = os.open(folder / REPORT, os.O_RDONLY | os.O_CLOEXEC)
        bundle = Bundle(folder, f"{directory}/{name}", report, (facts.uid, facts.gid))
        (folder / OPTIONS).write_text(json.dumps(options))
        (folder / ARCHIVE).write_bytes(zipped)
        (folder / SCRIPT).write_text(bundle.line)
        for one in (ARCHIVE, OPTIONS, REPORT, SCRIPT):
            (folder / one).chmod(0o600)
    except BaseException:
        if bundle is not None:
            bundle.remove()
        else:
            with suppress(OSError):
                (folder / REPORT).unlink()
            with suppress(OSError):
                folder.rmdir()
        raise
    return bundle


def _check_no_links(root: Path, directory: str) -> None:
    """In another root an absolute link would lead astray, out of it."""
    place = root
    for part in Path(directory).parts[1:] if root != Path("/") else ():
        place /= part
        if stat.S_ISLNK(place.lstat().st_mode):
            raise OSError(f"{part} is a link")


@functools.cache
def archive(compiled: bool) -> bytes:
    """A zip of the training side, with the code compiled for this version of Python if `compiled`.

    Compiled code is loaded in a third of the time (25 ms instead of 73), which is the training's.
    """
    own = Path(__file__).parents[2]
    packages = [file.parent for room in _ROOMS for file in sorted((own / room).rglob("__init__.py"))]
    folders = {"tuimon": own, **{f"tuimon/{folder.relative_to(own)}": folder for folder in packages}}
    return _zipped({**folders, _KERNELS: _kernels()}, compiled)


@functools.cache
def kernels_archive() -> bytes:
    """A zip of the kernels alone; the same bytes for the same sources."""
    return _zipped({_KERNELS: _kernels()}, compiled=False)


def _kernels() -> Path:
    found = importlib.util.find_spec(_KERNELS)
    if found is None or found.origin is None:
        raise ImportError(f"this installation of tuimon lacks {_KERNELS}", name=_KERNELS)
    return Path(found.origin).parent


def _zipped(folders: Mapping[str, Path], compiled: bool) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as file:
        for prefix, folder in folders.items():
            for path in sorted(folder.glob("*.py")):
                name, source = f"{prefix}/{path.name}", path.read_bytes()
                # Without a time of its own the content decides alone what the bytes are.
                file.writestr(zipfile.ZipInfo(name), source)
                if compiled:
                    file.writestr(zipfile.ZipInfo(f"{name}c"), _compiled(name, source))
    return buffer.getvalue()


def _compiled(name: str, source: bytes) -> bytes:
    code = compile(source, name, "exec", dont_inherit=True)
    # Flag 1: a hash stands where the time would be, and is not to be checked. The source is the very same.
    return importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little") + bytes(8) + marshal.dumps(code)
