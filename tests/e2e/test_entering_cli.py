"""A training that has never heard of tuimon, from the command line and on a terminal."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from starting import PATIENCE_S, Start
from terminal import terminal

from bench import soak, soak_target

pytestmark = pytest.mark.skipif(shutil.which("gdb") is None, reason="gdb is not installed")


@pytest.fixture
def untold(start: Start, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A training in mid-run without a word of tuimon in it; it ends as if nobody had entered it."""
    process = start("-W", "error", soak_target.__file__, "sleeping", tmp_path / "log")
    assert process.stdout is not None
    assert process.stdout.readline() == "training\n"
    yield process
    out, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, out, err) == (0, "", "")
    losses = [loss for _, loss in soak.records(tmp_path / "log")]
    assert losses == soak.untouched("sleeping", len(losses), tmp_path / "untouched")


def listed(start: Start, pid: int) -> dict[str, object]:
    out, _ = start("-m", "tuimon", "list", "--json").communicate(timeout=PATIENCE_S)
    (found,) = [line for line in json.loads(out) if line["pid"] == pid]
    return dict(found)


def test_record_enters_it(start: Start, untold: subprocess.Popen[str]) -> None:
    before = listed(start, untold.pid)
    assert (before["attachable"], before["enters"], before["reason"]) == (True, True, None)

    command = ("-m", "tuimon", "record", untold.pid, "--json", "--steps", 3, "--every", 2)
    record = start(*command)
    out, err = record.communicate(timeout=PATIENCE_S)
    assert record.returncode == 0, err
    told = err.splitlines()
    # On a machine where they were never compiled, that is said before.
    assert told[-1].startswith(f"entering process {untold.pid}: it pauses for a moment")
    hello, *between, bye = (json.loads(line) for line in out.splitlines())
    assert (hello["event"], hello["pid"], bye["event"]) == ("hello", untold.pid, "bye")
    # It introduces itself again when more is known.
    samples = [line for line in between if line["event"] == "sample"]
    assert [line for line in [hello, *between] if line["event"] == "hello"][-1]["optimizers"] == ["AdamW"]
    assert len(samples) == 3
    assert samples[-1]["step"] > samples[0]["step"] > 1
    assert all(sample["loss"] > 0 for sample in samples)

    after = listed(start, untold.pid)
    assert (after["attachable"], after["enters"]) == (True, False)
    # Whoever comes second finds the agent there, and nothing is entered.
    again = start(*command)
    _, err = again.communicate(timeout=PATIENCE_S)
    assert (again.returncode, err) == (0, "")


def test_attach_opens_the_screen_on_it(untold: subprocess.Popen[str], tmp_path: Path) -> None:
    with terminal(120, 40, tmp_path, "attach", untold.pid, "--budget", "5%") as shown:
        shown.until(f"entering process {untold.pid}")
        shown.until("watching costs")
        shown.press("q")
        assert shown.to_the_end() == 0
        assert f"process {untold.pid} goes on" in shown.shown


def test_on_a_terminal_a_failure_is_one_line(tmp_path: Path) -> None:
    """In one call all the time, so that the line cannot run; nothing is left of the screen."""
    import mmap

    library = tmp_path / "libtorch_double.so"
    library.write_bytes(bytes(mmap.PAGESIZE))
    program = (
        "import mmap, sys; file = open(sys.argv[1], 'r+b'); "
        "mapped = mmap.mmap(file.fileno(), 0); print(flush=True); input()"
    )
    blocked = subprocess.Popen(
        [sys.executable, "-S", "-c", program, str(library)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert blocked.stdout is not None
        blocked.stdout.readline()
        with terminal(120, 40, tmp_path, "attach", blocked.pid) as shown:
            assert shown.to_the_end() == 1
            assert f"process {blocked.pid} is not executing Python" in shown.shown.splitlines()[-1]
    finally:
        blocked.kill()
        blocked.communicate()
