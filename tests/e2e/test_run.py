"""`tuimon run`: trainings that know nothing of it, watched from their first step on."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from starting import PATIENCE_S, Start

PROGRAMS = Path(__file__).with_name("programs")
TRAINED, RANKS = PROGRAMS / "trained.py", PROGRAMS / "ranks.py"
#: As people write it; it is the one of this environment that is found.
PYTHON = sys.executable


def ran(process: subprocess.Popen[str], text: str = "") -> tuple[int, list[str], list[str]]:
    """Its exit code and the lines of its standard output and error."""
    out, err = process.communicate(text, timeout=PATIENCE_S)
    return process.returncode, out.splitlines(), err.splitlines()


def run(start: Start, *arguments: object) -> subprocess.Popen[str]:
    return start("-m", "tuimon", "run", *arguments)


def events(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def steps(file: Path) -> list[int]:
    return [line["step"] for line in events(file) if line["event"] == "sample"]


def test_it_is_watched_from_its_first_step_and_does_not_notice(start: Start, tmp_path: Path) -> None:
    bare = ran(start(TRAINED, 30, 7), "hello\n")
    written, kept = tmp_path / "events.jsonl", tmp_path / "run.tuimon"
    options = ("--events", written, "--record", kept)
    code, out, err = ran(run(start, *options, "--", PYTHON, TRAINED, 30, 7), "hello\n")
    assert (code, out) == bare[:2]
    assert out[0] == "hello"
    told = events(written)
    # More than one hello: the layers are known in their order once a whole step was seen.
    hello, bye = told[0], told[-1]
    samples = [line for line in told if line["event"] == "sample"]
    assert hello["name"] == "trained.py"
    assert hello["layers"] == ["0", "1", "2"]
    assert samples[0]["step"] == 1
    assert samples[-1]["step"] <= 30
    assert samples[0]["loss"] is not None
    assert samples[0]["grad_norm"] > 0.0
    assert bye == {"event": "bye", "reason": "finished", "alerts": {}}
    (line,) = err
    assert line.startswith(f"tuimon: trained.py, process {hello['pid']}: step 30, loss ")
    assert line.endswith("no alert fired")
    _, replayed, _ = ran(start("-m", "tuimon", "record", "--json", kept))
    assert [json.loads(line) for line in replayed] == told


def test_a_module_in_a_shell_with_a_sitecustomize_of_the_users_own(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.marked_by_the_user = __file__\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(PROGRAMS)]))
    start: Start = request.getfixturevalue("start")
    written = tmp_path / "events.jsonl"
    shell = f"{PYTHON} -m trained 3 && {PYTHON} -m trained 2; exit 5"
    code, out, err = ran(run(start, "--events", written, "bash", "-c", shell))
    assert code == 5
    assert out[2] == "path []"
    assert out[3] == f"marked {tmp_path}/sitecustomize.py __main__ {TRAINED}"
    assert len(err) == 1
    # Two trainings, one after the other, each from hello to bye.
    assert steps(written) == [1, 2, 3, 1, 2]
    assert [line["event"] for line in events(written)].count("bye") == 2


@pytest.mark.parametrize("option", ["-I", "-S"])
def test_a_python_that_runs_no_sitecustomize(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    if option == "-S":
        # An environment in which there is torch, and nothing of ours.
        torch = importlib.util.find_spec("torch")
        assert torch is not None
        assert torch.origin is not None
        monkeypatch.setenv("PYTHONPATH", str(Path(torch.origin).parents[1]))
    start: Start = request.getfixturevalue("start")
    written = tmp_path / "events.jsonl"
    bare = ran(start(option, TRAINED, 2))
    if option == "-S":
        assert "tuimon is installed False" in bare[1]
    assert ran(run(start, "--events", written, "--", PYTHON, option, TRAINED, 2))[:2] == bare[:2]
    assert steps(written) == [1, 2]


@pytest.mark.parametrize("how", ["torchrun", "spawn"])
def test_ranks_are_watched_and_nobody_else(start: Start, tmp_path: Path, how: str) -> None:
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", 2)
    command = (*torchrun, RANKS) if how == "torchrun" else (RANKS, "spawn")
    written = tmp_path / "events.jsonl"
    code, out, err = ran(run(start, "--events", written, "--", PYTHON, *command))
    assert code == 0, err
    there = {words[0]: set(map(int, words[1:])) for words in map(str.split, out)}
    assert there["listening"] == there["ranks"]
    assert not there["ranks"] & there["others"]
    assert steps(written) == [1, 2, 3, 4]
    hello = events(written)[0]
    assert hello["pid"] in there["ranks"]
    (other,) = there["ranks"] - {hello["pid"]}
    assert f"ranks.py, rank 0 of 2 (process {hello['pid']})" in err[-1]
    assert err[-1].endswith(f"not followed: rank 1 of 2 (process {other})")


def test_a_launchers_pid_stands_for_its_ranks(start: Start, tmp_path: Path) -> None:
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", 2)
    enough = tmp_path / "enough"
    running = run(start, PYTHON, *torchrun, RANKS, "until", enough)
    assert running.stdout is not None
    launcher = int(running.stdout.readline().split()[-1])
    _, out, _ = ran(start("-m", "tuimon", "list", "--json"))
    mine = [one for one in json.loads("".join(out)) if one["launcher"] == launcher]
    assert sorted((one["rank"], one["world_size"]) for one in mine) == [(0, 2), (1, 2)]
    # The launcher itself is no training, but its pid will do, and so will that of `tuimon run`.
    assert launcher not in [one["pid"] for one in json.loads("".join(out))]
    first = next(one["pid"] for one in mine if one["rank"] == 0)
    for pid in (launcher, running.pid):
        code, out, err = ran(start("-m", "tuimon", "record", pid, "--json", "--steps", 2))
        assert code == 0
        assert json.loads(out[0])["pid"] == first
        assert err == [f"following rank 0 of 2, process {first}; 1 more not followed"]
    enough.touch()
    assert ran(running)[0] == 0


def test_what_is_compiled_around_a_step_is_compiled_as_ever(start: Start, tmp_path: Path) -> None:
    compiled, written = PROGRAMS / "compiled.py", tmp_path / "events.jsonl"
    bare = ran(start(compiled))
    code, out, err = ran(run(start, "--every", 1, "--events", written, PYTHON, compiled))
    assert (code, out) == bare[:2]
    assert steps(written) == [1, 2, 3, 4, 5, 6, 7]
    # No word of the compiler's on what is ours.
    assert len(err) == len(bare[2]) + 1


def test_an_alert_fails_a_command_that_succeeds(start: Start) -> None:
    code, _, err = ran(run(start, "--fail-on", "critical", PYTHON, TRAINED, 12, 0, "nan"))
    assert code == 3
    assert "critical nonfinite at 2 since" in err[-1]


def test_an_alert_and_a_full_disk_do_not_hide_how_the_command_failed(start: Start) -> None:
    options = ("--fail-on", "critical", "--events", "/dev/full")
    code, out, err = ran(run(start, *options, PYTHON, TRAINED, 12, 9, "nan"))
    assert code == 9
    assert out[1].startswith("digest")
    assert err[0] == "tuimon: /dev/full ends here: No space left on device; the command goes on"
    assert "critical nonfinite" in err[-1]


def test_torch_that_trains_nothing_is_told_apart_from_no_torch(start: Start) -> None:
    command = "import torch; torch.ones(3).sum()"
    _, _, (line,) = ran(run(start, PYTHON, "-c", command))
    assert "loaded PyTorch, but no backward and no optimizer step was seen" in line
    _, _, (line,) = ran(run(start, PYTHON, "-c", "pass"))
    assert "no Python of the command loaded PyTorch" in line


def test_a_signal_is_passed_on_to_the_training(start: Start) -> None:
    process = run(start, "bash", "-c", "trap 'exit 4' USR1; echo ready; while true; do read line; done")
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGUSR1)
    assert ran(process)[0] == 4
