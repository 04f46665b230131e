"""Unix sockets that only the same user can speak through."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
import struct
from collections.abc import Iterator
from pathlib import Path

#: Longest path that bind and connect take, bytes (108 with the terminating NUL).
MAX_PATH_BYTES = 107

_UCRED = struct.Struct("3i")  # pid, uid, gid


class ForeignPeer(ConnectionError):
    """The other end of the socket is run by another user."""

    def __init__(self, uid: int) -> None:
        super().__init__(f"the other end of the socket belongs to user {uid}")
        self.uid = uid


def bind_unix(path: Path, backlog: int = 16) -> socket.socket:
    """A socket that listens at `path`, mode 0600 from its first moment.

    A socket that nobody listens on any more is replaced. The umask, which belongs to the whole
    process, is left alone.

    Raises:
        OSError: EADDRINUSE if somebody listens there already; EEXIST if something else than an
            own socket stands there; otherwise as bind does.
    """
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        # Before bind: the file gets the socket's mode, so it is never open to others, not for a moment.
        os.fchmod(server.fileno(), 0o600)
        with _short(path) as address:
            try:
                server.bind(address)
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                _unlink_dead(path)
                server.bind(address)
        server.listen(backlog)
    except BaseException:
        server.close()
        raise
    return server


def connect_unix(path: Path, timeout_s: float | None = 5.0, owner: int | None = None) -> socket.socket:
    """A connection to the agent that listens at `path`; its timeout stays `timeout_s`.

    Args:
        path: the socket.
        timeout_s: how long to wait for the agent's queue of connections; None for ever.
        owner: a further user whose process may be at the other end (for root, who may watch anyone's).

    Raises:
        FileNotFoundError: nobody ever listened there, or has left.
        ConnectionRefusedError: the listener died without taking its socket away.
        ForeignPeer: the listener is another user's.
        TimeoutError: it does not take connections.
        OSError: as connect does.
    """
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        if timeout_s is not None:
            # Not `settimeout`: on a non-blocking socket a full queue fails at once.
            client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(timeout_s))
        with _short(path) as address:
            client.connect(address)
        check_peer(client, owner)
        client.settimeout(timeout_s)
    except BlockingIOError:
        client.close()
        raise TimeoutError(f"{path} took no connection within {timeout_s:g} s") from None
    except BaseException:
        client.close()
        raise
    return client


def peer_uid(connection: socket.socket) -> int:
    """The user at the other end, as the kernel knows it."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    _, uid, _ = _UCRED.unpack(credentials)
    return int(uid)


def check_peer(connection: socket.socket, owner: int | None = None) -> None:
    """Pass if the other end is this process's user, root, or `owner`.

    Raises:
        ForeignPeer: it is anyone else.
    """
    uid = peer_uid(connection)
    if uid not in (os.geteuid(), 0, owner):
        raise ForeignPeer(uid)


def is_listening(path: Path) -> bool:
    """Whether somebody listens at `path`. Never waits.

    Raises:
        FileNotFoundError: there is nothing at `path`.
        OSError: as connect does.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as probe:
        probe.setblocking(False)
        with _short(path) as address:
            try:
                probe.connect(address)
            except ConnectionRefusedError:
                return False
            except BlockingIOError:
                pass  # its queue of connections is full: alive, and busy
    return True


def _timeval(time_s: float) -> bytes:
    whole_s = int(time_s)
    # At least a microsecond: the kernel takes 0 as "for ever".
    return struct.pack("@ll", whole_s, max(1, int((time_s - whole_s) * 1e6)))


def _unlink_dead(path: Path) -> None:
    found = path.lstat()
    if not stat.S_ISSOCK(found.st_mode) or found.st_uid != os.geteuid():
        raise FileExistsError(errno.EEXIST, "something else stands where the socket belongs", str(path))
    if is_listening(path):
        raise OSError(errno.EADDRINUSE, "somebody listens there already", str(path))
    path.unlink()


@contextlib.contextmanager
def _short(path: Path) -> Iterator[str]:
    """An address for `path` that fits: itself, or by way of its directory's descriptor."""
    if len(os.fsencode(path)) <= MAX_PATH_BYTES:
        yield str(path)
        return
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)
