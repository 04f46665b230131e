"""The way to an agent of another place: greetings among noise, failures with names, new connections."""

from __future__ import annotations

import os
import shlex
import time
from contextlib import closing
from pathlib import Path

import pytest
from agent_double import GREETING, frames, sample, until
from hypothesis import given
from hypothesis import strategies as st

from tuimon.attach.elsewhere import remote
from tuimon.attach.elsewhere.greeting import find_greeting, refusal, welcome
from tuimon.attach.elsewhere.listing import list_at
from tuimon.attach.elsewhere.place import Place
from tuimon.attach.elsewhere.remote import CommandTransport, RelayConnection, attach_through
from tuimon.attach.elsewhere.remote_errors import (
    NoClient,
    NoiseThere,
    NoTuimonThere,
    NoWayThere,
    OldTuimonThere,
    PlaceError,
    RefusedThere,
)
from tuimon.attach.errors import AttachError, NoAgent, NoSuchProcess
from tuimon.attach.events import Disconnected, Ended
from tuimon.attach.mailbox import Mailbox
from tuimon.attach.source import Backoff
from tuimon.records.sample import Bye, Sample

WELCOME = welcome(7, 100, 1000.0, "0.1.0")
BYE = Bye("finished", 9, 1009.0)


def there(folder: Path, script: str) -> Place:
    """A place whose tuimon is this shell script, which gets `relay 7` or `list --json`."""
    path = folder / "tuimon"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o700)
    return Place(via=("env",), command=(str(path),))


def saying_bytes(folder: Path, *parts: bytes) -> str:
    """A line of shell that prints these bytes."""
    path = folder / f"bytes{len(list(folder.iterdir()))}"
    path.write_bytes(b"".join(parts))
    return f"cat {shlex.quote(str(path))}"


# Greetings ---------------------------------------------------------------------------------------------


@given(noise=st.binary(max_size=200), cut=st.integers(0, 400))
def test_a_greeting_is_found_behind_any_noise_and_only_when_it_is_whole(noise: bytes, cut: int) -> None:
    whole = noise + WELCOME
    heard = whole[:cut] if cut < len(whole) else whole + b"\x01\x02"
    found = find_greeting(heard)
    if cut < len(whole):
        assert found is None
    else:
        assert found is not None
        assert (found[0].pid, found[0].started_ticks, found[1]) == (7, 100, b"\x01\x02")


@pytest.mark.parametrize(
    "line",
    [b"tuimon-relay {}\n", b'tuimon-relay {"relay": true}\n', b"tuimon-relay {nonsense}\n",
     b'tuimon-relay {"relay": 1, "error": 3}\n', b'x tuimon-relay {"relay": 1}\n'],
)  # fmt: skip
def test_what_is_no_greeting(line: bytes) -> None:
    assert find_greeting(line) is None


def test_a_terminal_in_between_does_not_hide_the_greeting() -> None:
    assert find_greeting(WELCOME.replace(b"\n", b"\r\n")) is not None


# Connections -------------------------------------------------------------------------------------------


def connected(place: Place) -> RelayConnection:
    return CommandTransport(place, 7).open()


def test_frames_begin_after_the_greeting(tmp_path: Path) -> None:
    script = f"echo Welcome to this fine machine; {saying_bytes(tmp_path, WELCOME, GREETING)}"
    with closing(connected(there(tmp_path, script))) as connection:
        heard = b""
        while chunk := connection.recv(30.0):
            heard += chunk
    assert heard == GREETING


def test_the_other_machines_clock_is_known(tmp_path: Path) -> None:
    transport = CommandTransport(there(tmp_path, saying_bytes(tmp_path, WELCOME)), 7)
    transport.prepare()
    before = time.time()
    assert abs(transport.now_s() - (1000.0 + time.time() - before)) < 60.0
    transport.close()


@pytest.mark.parametrize(
    ("script", "error", "said"),
    [
        ("echo 'bash: tuimon: command not found' >&2; exit 127", NoTuimonThere, "--remote-command"),
        ("echo 'python3: No module named tuimon' >&2; exit 1", NoTuimonThere, "No module named tuimon"),
        ("echo 'command terminated with exit code 127' >&2; exit 1", NoTuimonThere, "pip install tuimon"),
        ("echo \"tuimon: No such command 'relay'.\" >&2; exit 2", OldTuimonThere, "same version"),
        ("echo 'Error: No such container: c' >&2; exit 1", NoWayThere, "No such container: c"),
        ("echo This account is currently not available.", NoiseThere, "currently not available"),
        ("exit 1", NoWayThere, "exit code 1"),
        ("yes | head -c 1000000; sleep 1000", NoiseThere, "something else than tuimon"),
    ],
)
def test_no_greeting_has_a_reason(tmp_path: Path, script: str, error: type[PlaceError], said: str) -> None:
    with (
        closing(connected(there(tmp_path, script))) as connection,
        pytest.raises(error, match=said) as raised,
    ):
        connection.recv(30.0)
    assert raised.value.place in str(raised.value)


@pytest.mark.parametrize("error", [NoSuchProcess(7), NoAgent(7)], ids=["final", "not final"])
def test_what_the_other_side_says_is_said_here(tmp_path: Path, error: AttachError) -> None:
    place = there(tmp_path, f"{saying_bytes(tmp_path, refusal(error, '1'))}; exit 1")
    with closing(connected(place)) as connection, pytest.raises(RefusedThere) as raised:
        connection.recv(30.0)
    assert str(raised.value) == f"on {place.name}: {error}"
    assert raised.value.is_final is error.is_final


def test_a_relay_of_another_version(tmp_path: Path) -> None:
    newer = WELCOME.replace(b'"relay": 1', b'"relay": 9').replace(b"0.1.0", b"7.7")
    with (
        closing(connected(there(tmp_path, saying_bytes(tmp_path, newer)))) as connection,
        pytest.raises(OldTuimonThere, match=r"7\.7"),
    ):
        connection.recv(30.0)


def test_a_program_that_is_not_here() -> None:
    with pytest.raises(NoClient, match="no `kubectl-of-nowhere` here"):
        connected(Place(via=("kubectl-of-nowhere", "exec", "-i", "pod", "--")))


def test_who_prepares_hears_of_the_failure_at_once_and_leaves_nothing(tmp_path: Path) -> None:
    transport = CommandTransport(there(tmp_path, "echo no >&2; exit 1"), 7)
    with pytest.raises(NoWayThere):
        transport.prepare()
    transport.close()


def test_a_place_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "CONNECT_S", 0.01)
    place = there(tmp_path, "exec sleep 1000")
    with pytest.raises(AttachError, match="did not answer"):
        CommandTransport(place, 7).prepare()


def followed(transport: CommandTransport, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    monkeypatch.setattr(remote, "BACKOFF", Backoff(1e-3, 1e-2))
    box = Mailbox()
    source = attach_through(transport, box.put)
    source.start()
    events = until(box, Ended)
    assert source.join(30.0)
    return events


def test_a_network_that_dies_costs_nothing_but_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = saying_bytes(tmp_path, WELCOME, GREETING, frames(sample(1), sample(2)), frames(sample(3))[:50])
    second = saying_bytes(tmp_path, WELCOME, GREETING, frames(*(sample(i) for i in range(1, 6)), BYE))
    mark = tmp_path / "second"
    script = (
        f"if [ -e {mark} ]; then {second}; exec cat; fi; touch {mark}; {first}; "
        "echo 'client_loop: send disconnect: Broken pipe' >&2; exit 255"
    )
    events = followed(CommandTransport(there(tmp_path, script), 7), monkeypatch)
    assert [event.index for event in events if isinstance(event, Sample)] == [1, 2, 3, 4, 5]
    (broken,) = [event for event in events if isinstance(event, Disconnected)]
    assert "Broken pipe" in broken.reason
    assert events[-1] == Ended("finished")


@pytest.mark.parametrize(
    "later", [welcome(7, 101, 1000.0, "0.1.0"), refusal(NoSuchProcess(7), "0.1.0")], ids=["another", "none"]
)
def test_a_training_that_is_gone_when_the_network_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, later: bytes
) -> None:
    mark = tmp_path / "second"
    script = (
        f"if [ -e {mark} ]; then {saying_bytes(tmp_path, later)}; exit 1; fi; touch {mark}; "
        + saying_bytes(tmp_path, WELCOME, GREETING, frames(sample(1)))
    )
    events = followed(CommandTransport(there(tmp_path, script), 7), monkeypatch)
    (ended,) = [event for event in events if isinstance(event, Ended)]
    assert "the training process has ended" in ended.reason


def test_leaving_while_it_connects_does_not_wait(tmp_path: Path) -> None:
    mark = tmp_path / "started"
    os.mkfifo(mark)
    box = Mailbox()
    transport = CommandTransport(there(tmp_path, f"echo > {mark}; exec sleep 1000"), 7)
    source = attach_through(transport, box.put)
    source.start()
    mark.read_text()
    source.stop()
    assert source.join(0.0)


# Lists -------------------------------------------------------------------------------------------------


def test_a_list_is_read_behind_noise_and_from_another_version(tmp_path: Path) -> None:
    text = 'Last login: [now]\n[{"pid": 7, "user": "me", "step": null, "attachable": true, "future": 1}]\n'
    place = there(tmp_path, saying_bytes(tmp_path, text.encode()))
    (training,) = list_at(place)
    assert (training.pid, training.user, training.host) == (7, "me", place.name)
    assert training.attachable
    assert training.step is None
    assert training.framework is None


def test_what_is_no_list(tmp_path: Path) -> None:
    with pytest.raises(NoiseThere, match="Hello"):
        list_at(there(tmp_path, "echo 'Hello [1] friend'"))


def test_a_list_that_fails(tmp_path: Path) -> None:
    with pytest.raises(NoTuimonThere):
        list_at(there(tmp_path, "exit 127"))
