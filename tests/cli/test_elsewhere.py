"""Trainings of another machine: through a real sshd on loopback, and through any other command."""

from __future__ import annotations

import contextlib
import json
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from agent_double import Server, frames, sample
from command_line import BYE, GREETING, PATIENCE_S, PID, Agent, Ran, Start, Tuimon
from ssh_box import Box, ssh_box
from terminal import terminal

from tuimon.attach.elsewhere.greeting import welcome
from tuimon.cli.main import run
from tuimon.records.sample import Bye
from tuimon.records.tensors import empty_table
from tuimon.wire.commands import Cadence, Detach, Subscribe, decode_command
from tuimon.wire.framing import Decoder


def steps(*indices: int) -> bytes:
    return frames(*(sample(index, loss=1.0 / index, tensors=empty_table()) for index in indices))


@pytest.fixture
def box(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, runtime: Path
) -> Iterator[Box]:
    """A host on whose side tuimon is this very one, and sees this test's agents."""
    with ssh_box(tmp_path_factory.mktemp("box")) as made:
        monkeypatch.setenv("PATH", made.path)
        there = ["env", f"XDG_RUNTIME_DIR={runtime}", sys.executable, "-m", "tuimon"]
        monkeypatch.setenv("TUIMON_REMOTE", shlex.join(there))
        yield made


def events(told: Ran) -> list[dict[str, Any]]:
    assert (told.code, told.err) == (0, "")
    return [json.loads(line) for line in told.out.splitlines()]


def shape(lines: list[dict[str, Any]]) -> list[object]:
    return [line.get("step", line["event"]) for line in lines]


def test_a_training_behind_ssh_is_followed_to_its_end(tuimon: Tuimon, agent: Agent, box: Box) -> None:
    server = agent(GREETING, steps(1, 2, 3), frames(BYE))
    lines = events(tuimon("record", f"box:{PID}", "--json"))
    assert shape(lines) == ["hello", 1, 2, 3, "bye"]
    assert server.commands == [Subscribe(histograms=False)]


def test_a_cadence_travels_to_the_other_side(tuimon: Tuimon, own_socket: Path, box: Box) -> None:
    commands: list[object] = []

    def serve(connection: socket.socket, _served: int) -> None:
        connection.sendall(GREETING + steps(1))
        decoder = Decoder()
        while not commands:
            commands.extend(decode_command(payload) for payload in decoder.feed(connection.recv(4096)))
        connection.sendall(frames(BYE))

    with contextlib.closing(Server(own_socket, serve)):
        events(tuimon("record", f"box:{PID}", "--json", "--every", 3))
    assert commands == [Cadence(every=3)]


def test_a_connection_that_dies_costs_nothing_but_time(start: Start, own_socket: Path, box: Box) -> None:
    def serve(connection: socket.socket, served: int) -> None:
        connection.sendall(GREETING + steps(1, 2, 3))  # what it remembers, told to everyone
        if served > 1:
            connection.sendall(steps(4, 5) + frames(BYE))
        while connection.recv(4096):
            pass

    with contextlib.closing(Server(own_socket, serve)) as server:
        viewer = start("record", f"box:{PID}", "--json")
        assert viewer.stdout is not None
        seen = [viewer.stdout.readline() for _ in range(4)]
        (ssh,) = [p for p in psutil.Process(viewer.pid).children() if "ssh" in p.name()]
        ssh.kill()
        out, err = viewer.communicate(timeout=PATIENCE_S)
    lines = events(Ran(viewer.returncode, "".join(seen) + out, err))
    assert shape(lines) == ["hello", 1, 2, 3, 4, 5, "bye"]
    assert len(server.commands) == 2


def test_the_list_of_a_host(tuimon: Tuimon, agent: Agent, box: Box) -> None:
    agent(GREETING, steps(41))
    ran = tuimon("list", "box", "--json")
    assert (ran.code, ran.err) == (0, "")
    (shown,) = [line for line in json.loads(ran.out) if line["pid"] == PID]
    assert (shown["host"], shown["step"], shown["attachable"]) == ("box", 41, True)


def test_a_host_that_fails_does_not_hide_the_others(tuimon: Tuimon, agent: Agent, box: Box) -> None:
    agent(GREETING, steps(41))
    ran = tuimon("list", "nowhere.invalid", "box")
    assert ran.code == 1
    assert any(line.split()[:2] == ["box", str(PID)] for line in ran.out.splitlines())
    assert ran.err.startswith("tuimon: nowhere.invalid is no host that ssh knows")
    assert ran.err.count("\n") == 1


def test_a_host_alone_without_a_terminal_shows_what_to_name(tuimon: Tuimon, agent: Agent, box: Box) -> None:
    agent(GREETING, steps(41))
    ran = tuimon("attach", "box")
    assert ran.code == 2
    assert str(PID) in ran.out
    assert "tuimon attach box:" in ran.err


def test_at_a_terminal_the_host_key_is_asked_for_before_the_screen_is_there(
    agent: Agent, box: Box, runtime: Path
) -> None:
    box.configure("StrictHostKeyChecking ask")
    (box.folder / "known_hosts").unlink()
    agent(GREETING, steps(1, 2))
    with terminal(120, 40, runtime, "attach", f"box:{PID}", controlling=True) as shown:
        shown.until("continue connecting")
        shown.press("yes\n")
        shown.until("encoder")
        shown.press("q")
        assert shown.to_the_end() == 0
    assert f"process {PID} on box goes on" in shown.shown


@pytest.mark.parametrize("verb", ["attach", "record"])
def test_a_key_that_ssh_does_not_know(tuimon: Tuimon, box: Box, verb: str) -> None:
    (box.folder / "known_hosts").unlink()
    ran = tuimon(verb, f"box:{PID}")
    assert ran.code == 1
    assert "Host key verification failed" in ran.only_line
    assert "ssh box" in ran.only_line


def test_a_key_that_has_changed(tuimon: Tuimon, box: Box) -> None:
    box.trust("other")
    ran = tuimon("record", f"box:{PID}")
    assert ran.code == 1
    assert "ssh-keygen -R" in ran.only_line


def test_a_user_who_is_not_let_in(tuimon: Tuimon, box: Box) -> None:
    (box.folder / "client.pub").write_text((box.folder / "other.pub").read_text())
    ran = tuimon("record", f"box:{PID}")
    assert ran.code == 1
    assert "Permission denied" in ran.only_line


def test_a_host_at_which_nobody_listens(tuimon: Tuimon, box: Box) -> None:
    box.configure("Port 1")
    ran = tuimon("record", f"box:{PID}")
    assert ran.code == 1
    assert "Connection refused" in ran.only_line
    assert "`ssh box true`" in ran.only_line


def test_a_host_without_tuimon(tuimon: Tuimon, box: Box) -> None:
    ran = tuimon("record", f"box:{PID}", "--remote-command", "/nowhere/tuimon")
    assert ran.code == 1
    assert "there is no tuimon on box" in ran.only_line
    assert "TUIMON_REMOTE" in ran.only_line


def test_what_the_other_side_says(tuimon: Tuimon, box: Box) -> None:
    none = tuimon("record", f"box:{2**22 + 1}")
    assert none.code == 1
    assert none.only_line.startswith("tuimon: on box: there is no process")
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as cat:
        other = tuimon("record", f"box:{cat.pid}")
    assert other.code == 1
    assert other.only_line.startswith(f"tuimon: on box: process {cat.pid} (cat) runs no Python")


def test_any_other_command_leads_there_too(tuimon: Tuimon, agent: Agent, runtime: Path) -> None:
    agent(GREETING, steps(1, 2), frames(BYE))
    # As a container does it: the words come as they are, after a login shell's greeting.
    via = "sh -c 'echo Welcome aboard; exec \"$@\"' exec"
    command = shlex.join(["env", f"XDG_RUNTIME_DIR={runtime}", sys.executable, "-m", "tuimon"])
    lines = events(tuimon("record", PID, "--json", "--via", via, "--remote-command", command))
    assert shape(lines) == ["hello", 1, 2, "bye"]
    ran = tuimon("list", "--json", "--via", via, "--remote-command", command)
    assert (ran.code, ran.err) == (0, "")
    assert PID in [line["pid"] for line in json.loads(ran.out)]


def test_without_a_command_of_its_own_tuimon_is_looked_for(
    tuimon: Tuimon, agent: Agent, tmp_path: Path
) -> None:
    agent(GREETING, steps(1), frames(BYE))
    home = tmp_path / "home"
    program = home / ".local" / "bin" / "tuimon"
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m tuimon "$@"\n')
    program.chmod(0o700)
    via = f"env HOME={shlex.quote(str(home))} PATH=/usr/bin:/bin"
    assert shape(events(tuimon("record", PID, "--json", "--via", via))) == ["hello", 1, "bye"]


@pytest.mark.parametrize("pids", [(7,), (7, 8)], ids=["the only one", "one of two"])
def test_who_names_no_training_chooses_one_of_the_list(
    runtime: Path, tmp_path: Path, pids: tuple[int, ...]
) -> None:
    listed = [{"pid": pid, "user": "me", "name": f"run {pid}", "attachable": True} for pid in pids]
    (tmp_path / "list").write_text(json.dumps(listed))
    (tmp_path / "stream").write_bytes(welcome(7, 1, 1000.0, "0") + GREETING + steps(1, 2))
    program = tmp_path / "program"
    program.write_text(
        f'#!/bin/sh\ncd "{tmp_path}"; [ "$1" = list ] && exec cat list; cat stream; exec cat\n'
    )
    program.chmod(0o700)
    command = ("attach", "--via", "env", "--remote-command", program)
    with terminal(120, 40, runtime, *command, controlling=True) as shown:
        if len(pids) > 1:
            shown.until("which PID")
            shown.press("7\n")
        shown.until("encoder")
        shown.press("q")
        assert shown.to_the_end() == 0
    assert ("the only one on env: process 7 (run 7)" in shown.shown) is (len(pids) == 1)


def test_a_training_of_another_place_can_be_left_for_good(
    tuimon: Tuimon, own_socket: Path, runtime: Path
) -> None:
    commands: list[object] = []

    def serve(connection: socket.socket, _served: int) -> None:
        connection.sendall(GREETING + steps(1))
        decoder = Decoder()
        while not commands:
            commands.extend(decode_command(payload) for payload in decoder.feed(connection.recv(4096)))
        connection.sendall(frames(Bye("detached", 1, 1001.0)))

    there = shlex.join(["env", f"XDG_RUNTIME_DIR={runtime}", sys.executable, "-m", "tuimon"])
    with contextlib.closing(Server(own_socket, serve)):
        ran = tuimon("detach", PID, "--via", "env", "--remote-command", there)
    assert (ran.code, ran.err) == (0, "")
    assert "the training goes on" in ran.out
    assert commands == [Detach()]


def test_a_way_that_fails(tuimon: Tuimon) -> None:
    ran = tuimon("record", 7, "--via", "sh -c 'echo no such container: c >&2; exit 1'")
    assert ran.code == 1
    assert "no such container: c" in ran.only_line


def test_a_way_with_a_terminal_in_it_is_told_so(agent: Agent, runtime: Path) -> None:
    with terminal(200, 20, runtime, "relay", PID) as shown:
        assert shown.to_the_end() == 1
    assert "not to a terminal" in " ".join(shown.shown.split())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("attach", "box:7", "--via", "docker exec -i c"), "bare process id"),
        (("attach", "7", "--via", ""), "--via needs a command"),
        (("attach", "7", "--via", "docker 'exec"), "--via"),
        (("attach",), "TARGET"),
        (("record", "box:0"), "no process id"),
        (("record", "box:"), "no process id"),
        (("list", "a b"), "no process id"),
        (("attach", "--", "-oProxyCommand=x:7"), "no process id"),
        (("relay", "0"), "PID"),
        (("detach", "box"), "box:4711"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...], said: str, capfd: pytest.CaptureFixture[str]) -> None:
    told = Ran(run(arguments), *capfd.readouterr())
    assert told.code == 2
    assert said in told.only_line
