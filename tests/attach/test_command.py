"""A command's stdio as a connection: bytes, deadlines, its last words, and no process left behind."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tuimon.attach.elsewhere.command import CommandConnection, CommandEnded


@contextmanager
def running(script: str, *arguments: str, terminal: bool = False) -> Iterator[CommandConnection]:
    with closing(CommandConnection(["sh", "-c", script, "sh", *arguments], terminal)) as connection:
        yield connection


def all_of(connection: CommandConnection) -> bytes:
    heard = b""
    while chunk := connection.recv(30.0):
        heard += chunk
    return heard


def children() -> set[int]:
    pids: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        pids |= {int(pid) for pid in (task / "children").read_text().split()}
    return pids


def test_bytes_go_both_ways_as_they_are() -> None:
    data = bytes(range(256)) * 2
    with running("head -c 512") as connection:
        connection.send(data)
        assert all_of(connection) == data


def test_much_of_it_comes_in_pieces() -> None:
    with running("head -c 3000000 /dev/zero") as connection:
        assert all_of(connection) == bytes(3_000_000)


def test_words_on_stderr_are_no_bytes_of_the_connection() -> None:
    with running("echo careful >&2; echo data; echo more >&2") as connection:
        assert all_of(connection) == b"data\n"
        assert connection.said == ["careful", "more"]


def test_stderr_is_kept_in_bounds() -> None:
    with running("yes this is much too long | head -n 100000 >&2; echo the end >&2; exit 3") as connection:
        with pytest.raises(CommandEnded, match="the end") as caught:
            all_of(connection)
        assert caught.value.code == 3
        assert len(connection.said) <= 50


def test_a_failure_without_words_has_its_exit_code() -> None:
    with running("exit 7") as connection, pytest.raises(CommandEnded, match="exit code 7"):
        connection.recv(30.0)


def test_last_words_without_a_newline_count() -> None:
    with (
        running("printf 'no newline' >&2; exit 1") as connection,
        pytest.raises(CommandEnded, match="no newl"),
    ):
        connection.recv(30.0)


def test_nothing_in_time() -> None:
    with running("cat") as connection, pytest.raises(TimeoutError):
        connection.recv(0.01)


def test_words_do_not_put_off_a_deadline() -> None:
    # It never stops talking, on stderr only.
    with running("yes >&2") as connection, pytest.raises(TimeoutError):
        connection.recv(0.05)


def test_shutting_down_wakes_who_waits() -> None:
    with running("cat") as connection:
        heard: list[bytes] = []
        reader = threading.Thread(target=lambda: heard.append(connection.recv()))
        reader.start()
        connection.shutdown()
        reader.join(30.0)
        assert heard == [b""]


def test_a_command_that_reads_nothing_does_not_hold_up_who_sends() -> None:
    with running("exec sleep 1000") as connection, pytest.raises(OSError):
        while True:
            connection.send(bytes(4096))


@pytest.mark.parametrize(
    ("script", "terminal"),
    [
        ("cat", False),
        ("cat", True),
        ("exec sleep 1000", False),
        ("exec sleep 1000", True),
        ("trap '' TERM; read never; while :; do sleep 1000; done", False),
        ("sleep 1000 & sleep 1000 | cat", False),
        ("exit 1", False),
    ],
)
def test_no_process_and_no_descriptor_is_left_behind(script: str, terminal: bool) -> None:
    before = children(), len(os.listdir("/proc/self/fd"))
    with running(f"echo; {script}", terminal=terminal) as connection:
        assert connection.recv(30.0) == b"\n"
    assert (children(), len(os.listdir("/proc/self/fd"))) == before


def test_what_a_command_started_ends_with_it() -> None:
    with running("sleep 1000 & echo $!; exec sleep 1000") as connection:
        grandchild = int(connection.recv(30.0))
        watched = os.pidfd_open(grandchild)
    try:
        # Readable once that process has ended.
        assert select.select([watched], [], [], 30.0)[0]
    finally:
        os.close(watched)


def test_only_at_the_terminal_it_shares_the_session() -> None:
    for terminal in (False, True):
        with running("ps -o sid= -p $$ | tr -d ' '", terminal=terminal) as connection:
            assert (int(all_of(connection)) == os.getsid(0)) is terminal


def test_a_person_hears_what_it_says_while_it_runs() -> None:
    told: list[str] = []
    with running("echo 'touch your key' >&2; read answer; echo $answer") as connection:

        def tell(line: str) -> None:
            told.append(line)
            connection.send(b"done\n")

        assert connection.recv_until(None, tell) == b"done\n"
    assert told == ["touch your key"]
