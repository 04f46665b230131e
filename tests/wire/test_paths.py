"""Where agents listen: a directory of one user's own, a name that is never used twice."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tuimon.wire import paths
from tuimon.wire.paths import (
    UnsafeDirectory,
    check_directory,
    directory_candidates,
    parse_socket_name,
    process_start_ticks,
    socket_directory,
    socket_path,
)

UID = os.geteuid()


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path


def test_the_runtime_directory_is_preferred_and_made_for_one_user(runtime: Path) -> None:
    directory = socket_directory()
    assert directory == runtime / "tuimon"
    assert directory.stat().st_mode & 0o777 == 0o700
    assert socket_directory() == directory  # and found again


def test_a_umask_that_takes_everything_away_does_no_harm(runtime: Path) -> None:
    code = "import os; os.umask(0o777); from tuimon.wire.paths import socket_directory; socket_directory()"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert (runtime / "tuimon").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("named", [None, "", "relative", "/nonexistent-runtime-directory"])
def test_without_a_runtime_directory_the_temporary_one_is_taken(
    named: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths, "TEMPORARY", tmp_path)
    if named is None:
        monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    else:
        monkeypatch.setenv("XDG_RUNTIME_DIR", named)
    assert socket_directory() == tmp_path / f"tuimon-{UID}"


def test_another_users_runtime_directory_is_not_taken(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "TEMPORARY", runtime / "tmp")
    (runtime / "tmp").mkdir()
    with pytest.raises(UnsafeDirectory):  # made by this user, wanted for another
        socket_directory(UID + 1)
    assert not (runtime / "tuimon").exists()


def test_a_link_is_unsafe(runtime: Path) -> None:
    (runtime / "elsewhere").mkdir(mode=0o700)
    (runtime / "tuimon").symlink_to(runtime / "elsewhere")
    with pytest.raises(UnsafeDirectory, match="is no directory; remove it"):
        socket_directory()


def test_a_file_is_unsafe(runtime: Path) -> None:
    (runtime / "tuimon").touch()
    with pytest.raises(UnsafeDirectory, match="is no directory"):
        socket_directory()


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o701, 0o720, 0o702])
def test_a_directory_open_to_others_is_unsafe(runtime: Path, mode: int) -> None:
    (runtime / "tuimon").mkdir()
    (runtime / "tuimon").chmod(mode)
    with pytest.raises(UnsafeDirectory, match="chmod 700"):
        socket_directory()


def test_another_users_directory_is_unsafe(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir(mode=0o700)
    check_directory(tmp_path / "own", UID)
    with pytest.raises(UnsafeDirectory, match=f"belongs to user {UID}, not {UID + 1}"):
        check_directory(tmp_path / "own", UID + 1)


def test_viewers_look_wherever_agents_may_listen(runtime: Path) -> None:
    assert socket_directory() in directory_candidates(UID)
    others = directory_candidates(UID + 1)
    assert runtime / "tuimon" not in others
    assert Path(f"/tmp/tuimon-{UID + 1}") in others


def test_names_carry_pid_and_start_time(tmp_path: Path) -> None:
    path = socket_path(4711, 123456, tmp_path)
    assert path == tmp_path / "4711-123456.sock"
    assert parse_socket_name(path.name) == (4711, 123456)


@pytest.mark.parametrize(
    "name", ["4711.sock", "0-1.sock", "-1-1.sock", "1-1.sock.old", "a-1.sock", "1-1.sock\n"]
)
def test_other_names_are_no_sockets(name: str) -> None:
    assert parse_socket_name(name) is None


def test_start_time_tells_processes_apart() -> None:
    own = process_start_ticks(os.getpid())
    assert own == process_start_ticks(os.getpid())
    assert own >= process_start_ticks(os.getppid())


def test_commands_may_hold_parentheses(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    fields = " ".join(["S", *map(str, range(4, 53))])
    (tmp_path / "7" / "stat").write_text(f"7 (a) b (c) {fields}\n")
    assert process_start_ticks(7, tmp_path) == 22


def test_no_process_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(ProcessLookupError, match="no process 7"):
        process_start_ticks(7, tmp_path)
