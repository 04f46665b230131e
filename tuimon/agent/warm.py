"""Compiles the kernels for a training, in another process of its own Python, so that it never has to itself.

Run as a program by whoever enters a training, in that training's environment and as its user; on standard
input come the sources of `tuimon_kernels`, a zip. Standard library only, apart from the kernels themselves.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import socket
import sys
import tempfile
import zipfile
from typing import Any


def main(directory: str, mark: str, libraries: str) -> None:
    """Put the kernels into `directory`, compile what is not compiled yet, and leave a marker of it there.

    The marker tells whether that must be done again: see `tuimon.attach.injection.warming`.

    Args:
        directory: for these very kernels; made where it is missing.
        mark: the marker's file name.
        libraries: where to look as well for what cannot be imported.

    Raises:
        ImportError: there is no Numba in this environment.
        OSError: the directory cannot be made or written.
    """
    with contextlib.suppress(OSError):
        os.nice(19)  # the training beside it comes first
    if libraries not in sys.path:
        sys.path.append(libraries)
    import numba

    _place(directory, sys.stdin.buffer.read())
    sys.path.insert(0, directory)
    from tuimon_kernels import cpu

    cpu.BACKEND.warm()
    _write(os.path.join(directory, mark), marker(numba.__file__))


def marker(numba: str) -> dict[str, Any]:
    """For whom the compiled kernels in a directory are good: this Numba, on this machine."""
    found = os.stat(numba)
    return {"numba": numba, "stamp": [found.st_mtime_ns, found.st_size], "host": socket.gethostname()}


def _place(directory: str, archive: bytes) -> None:
    if os.path.isdir(os.path.join(directory, "tuimon_kernels")):
        return
    parent = os.path.dirname(directory)
    os.makedirs(parent, mode=0o700, exist_ok=True)
    fresh = tempfile.mkdtemp(prefix="new-", dir=parent)
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as file:
            file.extractall(fresh)
        os.rename(fresh, directory)
    except OSError:
        shutil.rmtree(fresh, ignore_errors=True)
        if not os.path.isdir(directory):  # else another one was faster
            raise


def _write(path: str, what: dict[str, Any]) -> None:
    with open(f"{path}.new", "w", encoding="utf-8") as file:
        json.dump(what, file)
    os.replace(f"{path}.new", path)


if __name__ == "__main__":
    main(*sys.argv[1:4])
