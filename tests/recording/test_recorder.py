"""A recording: what goes in comes out, whatever happens to the process, the disk or the file."""

from __future__ import annotations

import itertools
import json
import math
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from agent_double import HELLO, LAYOUT, sample

from tuimon.recording import schema
from tuimon.recording.errors import (
    Damaged,
    NoRecording,
    NotARecording,
    OtherVersion,
    RecordingError,
    Unwritable,
)
from tuimon.recording.reader import Recording
from tuimon.recording.writer import COMMIT_S, Recorder
from tuimon.records.alert import Alert, AlertState, Severity
from tuimon.records.criterion import Criterion, Evaluation
from tuimon.records.record import Record
from tuimon.records.sample import Bye, Log, Notice, Sample

BYE = Bye("finished", 3, 1003.0)
ALERT = Alert(
    "dead_neurons", AlertState.FIRING, Severity.WARNING, 2, 1, ("encoder",), "silent", "wake it",
    {"share": 0.5},
)  # fmt: skip
EVALUATION = Evaluation(
    2, 1002.6, 4, criteria=(Criterion("cross_entropy", 0.75, n=8, judged=8, correct=6), Criterion("l1_loss")),
)
RUN: tuple[Record, ...] = (
    HELLO, LAYOUT, sample(1, loss=2.0, lr=(0.1, 0.2)), sample(2, loss=1.0, grad_norm=3.5),
    Log(2, 1002.0, {"val_loss": 0.5}), Notice(2, 1002.5, "größer"), EVALUATION, sample(3, loss=0.5), BYE,
)  # fmt: skip


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.tuimon"


def record(path: Path, *records: Record, **settings: object) -> None:
    recorder = Recorder(path, **settings)  # type: ignore[arg-type]
    for one in records:
        recorder.write(one)
    recorder.close()


def replayed(path: Path, run: int = 1) -> list[Record]:
    with Recording(path) as recording:
        return list(recording.records(run))


def query(path: Path, text: str) -> list[tuple[object, ...]]:
    database = sqlite3.connect(path)
    try:
        return database.execute(text).fetchall()
    finally:
        database.close()


def test_what_goes_in_comes_out_in_one_file(path: Path) -> None:
    record(path, *RUN)
    assert replayed(path) == list(RUN)
    assert os.listdir(path.parent) == [path.name]
    with Recording(path) as recording:
        (run,) = recording.runs()
    assert (run.name, run.pid, run.samples, run.end_reason) == (HELLO.name, HELLO.pid, 3, "finished")


def test_people_can_query_it(path: Path) -> None:
    recorder = Recorder(path)
    for one in RUN[:4]:
        recorder.write(one)
    recorder.alert(ALERT)
    for one in RUN[4:]:
        recorder.write(one)
    recorder.close()
    assert query(path, "SELECT step, loss, lr, grad_norm FROM samples ORDER BY step") == [
        (1, 2.0, 0.1, None), (2, 1.0, None, 3.5), (3, 0.5, None, None),
    ]  # fmt: skip
    assert query(path, "SELECT name, value FROM logs") == [("val_loss", 0.5)]
    assert query(path, "SELECT text FROM notices") == [("größer",)]
    assert query(path, "SELECT step, criterion, loss, accuracy, n, batches FROM evaluations") == [
        (2, "cross_entropy", 0.75, 0.75, 8, 4), (2, "l1_loss", None, None, None, 4),
    ]  # fmt: skip
    fired = "SELECT rule, state, severity, place, evidence FROM alerts JOIN samples USING (run, seq)"
    assert query(path, fired) == [("dead_neurons", "firing", "warning", '["encoder"]', '{"share": 0.5}')]
    assert query(path, "SELECT name, kind FROM tensors") == [(t.name, t.kind.value) for t in LAYOUT.tensors]
    assert query(path, "SELECT ended_s, end_reason FROM runs") == [(1003.0, "finished")]


def test_nan_is_told_apart_from_not_measured(path: Path) -> None:
    record(path, HELLO, LAYOUT, sample(1, loss=math.nan, grad_norm=math.inf), sample(2))
    assert query(path, "SELECT loss, grad_norm, not_a_number FROM samples") == [
        (None, math.inf, '["loss"]'),
        (None, None, None),
    ]
    first = replayed(path)[2]
    assert isinstance(first, Sample)
    assert first.loss is not None
    assert math.isnan(first.loss)


def test_runs_are_added(path: Path) -> None:
    record(path, *RUN)
    second = replace(HELLO, pid=HELLO.pid + 1)
    record(path, second, LAYOUT, sample(1))
    with Recording(path) as recording:
        assert [(run.run, run.pid, run.end_reason) for run in recording.runs()] == [
            (1, HELLO.pid, "finished"),
            (2, second.pid, None),
        ]
    assert replayed(path) == list(RUN)
    assert replayed(path, 2) == [second, LAYOUT, sample(1)]


def test_a_better_introduction_is_no_other_run(path: Path) -> None:
    record(path, HELLO, LAYOUT, replace(HELLO, parameters=99), sample(1))
    assert query(path, "SELECT run, parameters FROM runs") == [(1, 99)]


def test_it_can_be_read_while_it_is_written(path: Path) -> None:
    clock = [0.0]
    recorder = Recorder(path, clock=lambda: clock[0])
    for one in RUN[:3]:
        recorder.write(one)
    with Recording(path) as recording, pytest.raises(NotARecording):
        recording.runs()
    clock[0] = COMMIT_S
    recorder.commit_if_due()
    assert replayed(path) == list(RUN[:3])
    recorder.close()


WRITER = """
import sys, time
from pathlib import Path
from agent_double import HELLO, LAYOUT, sample
from tuimon.recording.writer import Recorder
clock = [0.0]
recorder = Recorder(Path(sys.argv[1]), clock=lambda: clock[0])
recorder.write(HELLO)
recorder.write(LAYOUT)
for index in range(1, 8):
    clock[0] += 0.4
    recorder.write(sample(index))
print("written", flush=True)
sys.stdin.read()
"""


def test_a_killed_writer_leaves_all_but_the_last_second(path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", WRITER, str(path)]
    writer = subprocess.Popen(command, stdin=pipe, stdout=pipe, env=environment)
    assert writer.stdout is not None
    assert writer.stdout.readline() == b"written\n"
    writer.send_signal(signal.SIGKILL)
    writer.communicate()
    found = [record.index for record in replayed(path) if isinstance(record, Sample)]
    # 2.8 seconds on its clock: what was written 1.0 seconds before the end is there, in order.
    assert found == list(range(1, len(found) + 1))
    assert len(found) >= 4
    record(path, replace(HELLO, pid=1), LAYOUT, sample(1))
    assert replayed(path, 2)[2] == sample(1)
    assert os.listdir(path.parent) == [path.name]


def test_older_samples_make_room_and_keep_their_scalars(path: Path) -> None:
    samples = [sample(index, loss=float(index)) for index in range(1, 201)]
    record(path, HELLO, LAYOUT, *samples)
    (size,) = query(path, "SELECT sum(length(frame)) FROM frames")[0]
    assert isinstance(size, int)
    small = path.with_name("small")
    record(small, HELLO, LAYOUT, *samples, limit_bytes=size // 4)
    (kept_bytes,) = query(small, "SELECT sum(length(frame)) FROM frames")[0]
    assert isinstance(kept_bytes, int)
    assert kept_bytes <= size // 4
    kept = [one.index for one in replayed(small) if isinstance(one, Sample)]
    assert kept[-1] == 200
    gaps = [later - earlier for earlier, later in itertools.pairwise(kept)]
    # The further back, the fewer: the newest ones are all there.
    assert gaps[-5:] == [1] * 5
    assert max(gaps[: len(gaps) // 2]) > 1
    assert query(small, "SELECT count(*), sum(loss) FROM samples") == [(200, 20100.0)]


def test_a_full_disk_is_said_and_loses_nothing_before(path: Path) -> None:
    clock = [0.0]
    recorder = Recorder(path, clock=lambda: clock[0])
    recorder.write(HELLO)
    recorder.write(LAYOUT)
    recorder._database.execute("PRAGMA max_page_count = 40")

    def fill() -> None:
        for index in range(1, 1000):
            clock[0] += COMMIT_S
            recorder.write(sample(index))

    with pytest.raises(Unwritable, match=r"cannot be written to \(database or disk is full\); make room"):
        fill()
    recorder.close()
    found = [one.index for one in replayed(path) if isinstance(one, Sample)]
    assert found == list(range(1, len(found) + 1))
    assert found


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def scribbled_on(path: Path) -> None:
    database = sqlite3.connect(path)
    database.execute("UPDATE frames SET frame = x'00112233' WHERE seq = 3")
    database.commit()
    database.close()


def of_the_future(path: Path) -> None:
    database = sqlite3.connect(path)
    database.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    database.close()


def of_another_program(path: Path) -> None:
    path.unlink()
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE mail (text)")
    database.close()


def emptied(path: Path) -> None:
    os.truncate(path, 0)


def text(path: Path) -> None:
    path.write_text("import torch\n" * 30)


BAD: dict[Callable[[Path], None], tuple[type[RecordingError], str]] = {
    Path.unlink: (NoRecording, "is not there"),
    emptied: (NotARecording, "is empty"),
    text: (NotARecording, "is no recording"),
    of_another_program: (NotARecording, "is a database of another program"),
    of_the_future: (OtherVersion, f"is a recording of version {schema.VERSION + 1}"),
    cut: (Damaged, "is damaged (cut off"),
    scribbled_on: (Damaged, "is damaged ("),
}


@pytest.mark.parametrize("spoil", BAD)
def test_a_file_that_is_no_good_recording_says_why(path: Path, spoil: Callable[[Path], None]) -> None:
    record(path, *RUN)
    spoil(path)
    kind, words = BAD[spoil]
    with pytest.raises(kind) as caught:
        replayed(path)
    assert str(caught.value).startswith(f"{path} {words}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("spoil", [text, of_another_program, of_the_future])
def test_what_is_something_else_is_never_written_to(path: Path, spoil: Callable[[Path], None]) -> None:
    record(path, *RUN)
    spoil(path)
    before = path.read_bytes()
    with pytest.raises(RecordingError):
        Recorder(path)
    assert path.read_bytes() == before


def test_a_place_that_cannot_be_written_to(tmp_path: Path) -> None:
    with pytest.raises(Unwritable, match="name a file in a folder of yours"):
        Recorder(tmp_path / "missing" / "run.tuimon")
    with pytest.raises(Unwritable, match="Is a directory"):
        Recorder(tmp_path)


def test_the_evidence_may_be_infinite(path: Path) -> None:
    recorder = Recorder(path)
    recorder.write(HELLO)
    recorder.alert(replace(ALERT, evidence={"ratio": math.inf}))
    recorder.close()
    ((evidence,),) = query(path, "SELECT evidence FROM alerts")
    assert isinstance(evidence, str)
    assert json.loads(evidence) == {"ratio": math.inf}
    shutil.copy(path, path.with_name("copied"))
    assert replayed(path.with_name("copied")) == [HELLO]
