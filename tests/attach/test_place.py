"""The command that leads to another place: its words, ssh's own words, and how tuimon is found there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tuimon.attach.elsewhere import place as place_module
from tuimon.attach.elsewhere.place import Place, is_host
from tuimon.attach.elsewhere.remote_errors import HostUnknown, KeyRefused, NotAdmitted, NoWayThere, PlaceError

# Words -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "error", "said"),
    [
        (["ssh: Could not resolve hostname box: Name or service not known"], HostUnknown, "~/.ssh/config"),
        (["ssh: connect to host box port 22: Connection refused"], NoWayThere, "Connection refused"),
        (["ssh: connect to host box port 22: No route to host"], NoWayThere, "ssh box true"),
        (["kex_exchange_identification: read: Connection reset by peer"], NoWayThere, "reset by peer"),
        (["Timeout, server box not responding."], NoWayThere, "not responding"),
        (["me@box: Permission denied (publickey,password)."], NotAdmitted, "ssh-agent"),
        (["Received disconnect: Too many authentication failures"], NotAdmitted, "Too many"),
        (["No ED25519 host key is known", "Host key verification failed."], KeyRefused, "compare and accept"),
        (["WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!", "Host key verification failed."],
         KeyRefused, "ssh-keygen -R"),
        ([], NoWayThere, "said nothing"),
    ],
)  # fmt: skip
def test_what_ssh_says_has_a_name(lines: list[str], error: type[PlaceError], said: str) -> None:
    told = Place(host="box").failure(255, lines, b"")
    assert type(told) is error
    assert said in str(told)
    assert "box" in str(told)


@pytest.mark.parametrize(
    "text", ["gpubox", "me@gpubox", "10.0.0.7", "[fe80::1%eth0]", "node-7.cluster.example", "me.x+y@a_b"]
)
def test_hosts(text: str) -> None:
    assert is_host(text)


@pytest.mark.parametrize(
    "text", ["", "-oProxyCommand=x", "me@-x", "a b", "a/b", "a;b", "$(x)", "a:b", "٣", "@a"]
)
def test_what_is_no_host(text: str) -> None:
    assert not is_host(text)


def test_ssh_and_only_ssh_gets_one_line_for_a_shell() -> None:
    command = ("/a b/tuimon",)
    assert Place(host="me@[::1]", command=command).words("relay", "7")[-3:] == [
        "--", "me@::1", "'/a b/tuimon' relay 7",
    ]  # fmt: skip
    assert Place(via=("/usr/bin/ssh", "-p", "2", "box"), command=command).words("relay", "7") == [
        "/usr/bin/ssh", "-p", "2", "box", "'/a b/tuimon' relay 7",
    ]  # fmt: skip
    assert Place(via=("docker", "exec", "-i", "c"), command=command).words("relay", "7") == [
        "docker", "exec", "-i", "c", "/a b/tuimon", "relay", "7",
    ]  # fmt: skip


def test_slurm_is_told_not_to_wait_for_whole_lines() -> None:
    via = ("/usr/bin/srun", "--overlap", "--jobid=7")
    assert Place(via=via, command=("tuimon",)).words("relay", "7") == [
        "/usr/bin/srun", "--unbuffered", "--overlap", "--jobid=7", "tuimon", "relay", "7",
    ]  # fmt: skip


def test_nobody_is_asked_where_nobody_can_answer() -> None:
    assert "BatchMode=yes" in Place(host="box").words("list")
    assert "BatchMode=yes" not in Place(host="box").words("list", ask=True)


# Finding tuimon there ----------------------------------------------------------------------------------


def test_what_finds_tuimon_passes_any_login_shell_in_one_line() -> None:
    assert not set("'!\n") & set(place_module._FIND)


def found(home: Path, *arguments: str, path: str = "/usr/bin:/bin") -> str:
    """What the search starts, told by doubles that print their own path and arguments."""
    words = Place(via=("env", "-i", f"HOME={home}", f"PATH={path}")).words(*arguments)
    ran = subprocess.run(words, capture_output=True, text=True, check=False, cwd=home)
    return ran.stdout.strip() if ran.returncode == 0 else "nothing"


def double(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('#!/bin/sh\necho "$0" "$@"\n')
    path.chmod(0o700)
    return path


def test_it_is_found_on_the_path_and_where_pip_puts_it_for_one_user(tmp_path: Path) -> None:
    home = tmp_path / "my home"
    user = double(home / ".local" / "bin" / "tuimon")
    assert found(home, "relay", "7") == f"{user} relay 7"
    system = double(tmp_path / "bin" / "tuimon")
    assert found(home, "relay", "7", path=f"{system.parent}:/usr/bin:/bin") == f"{system} relay 7"


def test_it_is_found_in_the_environment_of_the_training(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    theirs = double(tmp_path / "their venv" / "bin" / "tuimon")
    interpreter = theirs.with_name("python3")
    interpreter.symlink_to(sys.executable)
    code = "print(flush=True); input()"
    pipe = subprocess.PIPE
    for command, environment in (
        ([str(interpreter), "-S", "-c", code], {}),
        ([sys.executable, "-S", "-c", code], {"VIRTUAL_ENV": str(theirs.parent.parent)}),
        ([sys.executable, "-S", "-c", code], {"CONDA_PREFIX": str(theirs.parent.parent)}),
    ):
        training = subprocess.Popen(command, stdin=pipe, stdout=pipe, env={**os.environ, **environment})
        assert training.stdout is not None
        training.stdout.readline()
        try:
            # A directory of that name in the home is no tuimon that could be imported.
            (home / "tuimon").mkdir(exist_ok=True)
            assert found(home, "relay", str(training.pid)) == f"{theirs} relay {training.pid}"
        finally:
            training.communicate()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root sees environments of others")
def test_root_runs_no_program_of_another_user(tmp_path: Path) -> None:
    theirs = double(tmp_path / "their venv" / "bin" / "tuimon")
    training = subprocess.Popen(
        [sys.executable, "-S", "-c", "print(flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "VIRTUAL_ENV": str(theirs.parent.parent)},
    )
    assert training.stdout is not None
    training.stdout.readline()
    try:
        assert found(tmp_path, "relay", str(training.pid)) == f"{theirs} relay {training.pid}"
        for path in (theirs, theirs.parent):
            os.chown(path, 12345, 12345)
            assert found(tmp_path, "relay", str(training.pid)) != f"{theirs} relay {training.pid}"
            os.chown(path, 0, 0)
    finally:
        training.communicate()
