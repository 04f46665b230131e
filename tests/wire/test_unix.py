"""Sockets of one user: closed from their first moment, replaced only when dead."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tuimon.wire import unix
from tuimon.wire.unix import (
    MAX_PATH_BYTES,
    ForeignPeer,
    bind_unix,
    check_peer,
    connect_unix,
    is_listening,
    peer_uid,
)


@pytest.fixture(params=["short", "long"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    directory = tmp_path
    if request.param == "long":
        directory = tmp_path / ("d" * 120)
        directory.mkdir()
        assert len(os.fsencode(directory)) > MAX_PATH_BYTES
    return directory / "7-7.sock"


@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    assert os.umask(before) == 0, "the umask belongs to the whole process and was changed"


@pytest.mark.usefixtures("open_umask")
def test_only_the_owner_may_connect_whatever_the_umask(path: Path) -> None:
    with bind_unix(path):
        assert path.stat().st_mode & 0o777 == 0o600


def test_bytes_go_both_ways(path: Path) -> None:
    with bind_unix(path) as server, connect_unix(path) as client:
        accepted, _ = server.accept()
        with accepted:
            client.sendall(b"there")
            assert accepted.recv(10) == b"there"
            accepted.sendall(b"back")
            assert client.recv(10) == b"back"


def test_sockets_do_not_pass_into_programs_that_are_started(path: Path) -> None:
    with bind_unix(path) as server, connect_unix(path) as client:
        assert not server.get_inheritable()
        assert not client.get_inheritable()


def test_a_dead_socket_is_replaced(path: Path) -> None:
    bind_unix(path).close()
    assert not is_listening(path)
    with pytest.raises(ConnectionRefusedError):
        connect_unix(path)
    with bind_unix(path), connect_unix(path):
        assert is_listening(path)


def test_a_live_socket_is_left_alone(path: Path) -> None:
    with bind_unix(path):
        with pytest.raises(OSError, match="somebody listens there already") as caught:
            bind_unix(path)
        assert caught.value.errno == errno.EADDRINUSE
        assert is_listening(path)


def test_what_is_no_socket_is_left_alone(path: Path) -> None:
    path.write_text("precious")
    with pytest.raises(FileExistsError):
        bind_unix(path)
    assert path.read_text() == "precious"


def test_nothing_there_is_said_so(path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        connect_unix(path)
    with pytest.raises(FileNotFoundError):
        is_listening(path)


def test_a_directory_that_vanished_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        bind_unix(tmp_path / ("d" * 120) / "7-7.sock")


def test_a_listener_too_busy_to_accept_is_alive(path: Path) -> None:
    with bind_unix(path, backlog=0), contextlib.ExitStack() as waiting:
        with pytest.raises(BlockingIOError):
            for _ in range(10):
                client = waiting.enter_context(socket.socket(socket.AF_UNIX))
                client.setblocking(False)
                with unix._short(path) as address:
                    client.connect(address)
        assert is_listening(path)
        with pytest.raises(TimeoutError):
            connect_unix(path, timeout_s=0.01)


def test_the_kernel_names_the_peer() -> None:
    a, b = socket.socketpair()
    with a, b:
        assert peer_uid(a) == os.geteuid()
        check_peer(a)


def test_a_foreign_peer_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with bind_unix(path):
        monkeypatch.setattr(unix, "peer_uid", lambda _: os.geteuid() + 1)
        with pytest.raises(ForeignPeer, match=f"user {os.geteuid() + 1}"):
            connect_unix(path)
        connect_unix(path, owner=os.geteuid() + 1).close()
        monkeypatch.setattr(unix, "peer_uid", lambda _: 0)
        connect_unix(path).close()


def test_no_descriptor_is_left_behind(path: Path) -> None:
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    before = descriptors()
    with pytest.raises(FileNotFoundError):
        connect_unix(path)
    with bind_unix(path), pytest.raises(OSError, match="already"):
        bind_unix(path)
    connected = descriptors()
    assert connected == before
