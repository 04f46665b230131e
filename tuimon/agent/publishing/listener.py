"""The door of a training process: its socket and the socket's name on disk."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

from tuimon.wire.paths import process_start_ticks, socket_path
from tuimon.wire.unix import ForeignPeer, bind_unix, check_peer


class Listener:
    """Listens for viewers of this process, without ever waiting for one.

    Args:
        directory: where, by default the user's own socket directory (see `socket_directory`).

    Raises:
        UnsafeDirectory: the directory is not this user's alone.
        OSError: it cannot be made or listened in, or this process listens there already.
    """

    def __init__(self, directory: Path | None = None) -> None:
        self._directory = directory
        self._bind()

    def fileno(self) -> int:
        """The descriptor, for a selector; another one after `bind_again`."""
        return self._socket.fileno()

    @property
    def path(self) -> Path:
        """Where viewers connect; maybe elsewhere after `bind_again`."""
        return self._path

    def accept(self) -> socket.socket | None:
        """The next viewer's connection, not blocking; None when nobody waits, or one was refused.

        Raises:
            OSError: none can be taken at present (EMFILE); whoever waits goes on waiting.
        """
        try:
            connection, _ = self._socket.accept()
        except (BlockingIOError, ConnectionError):
            return None
        try:
            check_peer(connection)
            connection.setblocking(False)
        except (ForeignPeer, OSError):
            connection.close()
            return None
        return connection

    @property
    def vanished(self) -> bool:
        """Whether the socket's name is gone from disk, so that nobody finds it any more."""
        try:
            os.lstat(self._path)
        except (FileNotFoundError, NotADirectoryError):
            return True
        except OSError:
            pass  # not readable at present: no reason to leave it
        return False

    def bind_again(self) -> None:
        """Listen on a new socket under the same name, or where the user's directory is now.

        Raises:
            OSError: that cannot be made; the old socket is as it was.
        """
        before = self._socket
        self._bind()
        before.close()

    def close(self) -> None:
        """Stop listening and take the name away, if it is still this socket's. Idempotent."""
        if self._socket.fileno() >= 0:
            with contextlib.suppress(OSError):
                if _identity(self._path) == self._bound:
                    self._path.unlink()
        self._socket.close()

    def forget(self) -> None:
        """Close the descriptor only: the name belongs to the process that was forked."""
        self._socket.close()

    def _bind(self) -> None:
        if self._directory is not None:
            self._directory.mkdir(0o700, parents=True, exist_ok=True)
        path = socket_path(os.getpid(), process_start_ticks(os.getpid()), self._directory)
        bound = bind_unix(path)
        try:
            bound.setblocking(False)
            identity = _identity(path)
        except BaseException:
            bound.close()
            raise
        self._socket, self._path, self._bound = bound, path, identity


def _identity(path: Path) -> tuple[int, int]:
    found = os.lstat(path)
    return found.st_dev, found.st_ino
