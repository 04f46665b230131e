"""A training in a process of its own, entered in mid-run, beside its own account of what it did.

What all tests of loops share. `Loop` is a program of `programs/` that runs; `Run` is what came of it: what
the program said, what tuimon said, and what the program says when nobody attaches to it.
"""

from __future__ import annotations

import functools
import json
import math
import os
import queue
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PROGRAMS = HERE / "programs"
#: A guard against hanging, no measurement.
PATIENCE_S = 120.0

Line = Mapping[str, Any]


@dataclass(frozen=True)
class How:
    """How a program is run and observed, where it is not as usual."""

    #: What Python does with warnings.
    warnings: str = "error"
    #: Steps that are recorded.
    steps: int = 20


HOW = {
    # Long enough for a scale to grow until gradients overflow, several times.
    "amp.py": How(steps=40),
    "amp_fused.py": How(steps=40),
    "accumulating.py": How(steps=40),
    "growing.py": How(steps=60),
    # The compiler, and what these two import, warn of deprecated parts of their own.
    "compiled.py": How("ignore"),
    "compiled_in_place.py": How("ignore"),
    "compiled_blocks.py": How("ignore"),
    "compiled_function.py": How("ignore"),
    "hf_trainer.py": How("ignore"),
    "lightning_fit.py": How("ignore"),
}


@dataclass(frozen=True)
class Recording:
    """What `tuimon record --json --tensors` printed."""

    lines: Sequence[Line]
    stderr: str

    def events(self, name: str) -> list[Line]:
        return [line for line in self.lines if line["event"] == name]

    @property
    def hello(self) -> Line:
        """The newest introduction: models become known after the first one."""
        return self.events("hello")[-1]

    @property
    def samples(self) -> list[Line]:
        return self.events("sample")


def tensors(sample: Line, kind: str) -> dict[str, Line]:
    """The tensors of one kind in a sample, by name."""
    return {tensor["name"]: tensor for tensor in sample["tensors"] if tensor["kind"] == kind}


@dataclass(frozen=True)
class Rank:
    """One of several processes that train together."""

    rank: int
    size: int
    rendezvous: Path

    def environment(self) -> dict[str, str]:
        """What a launcher tells it."""
        return {
            "RANK": str(self.rank),
            "WORLD_SIZE": str(self.size),
            "RENDEZVOUS": str(self.rendezvous),
            "GLOO_SOCKET_IFNAME": "lo",
        }


class Loop:
    """A program that runs until `stop`. Its lines are read as they come, so that it never waits for us."""

    def __init__(
        self, program: str, runtime: Path, *, warnings: str = "error", rank: Rank | None = None
    ) -> None:
        self._asking, pipe = None, None
        command = [sys.executable, "-W", warnings]
        if not can_enter():
            pipe, self._asking = os.pipe()
            command += [str(HERE / "launch.py"), str(pipe)]
        self.process = subprocess.Popen(
            [*command, str(PROGRAMS / program)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**environment(runtime), **(rank.environment() if rank else {})},
            pass_fds=() if pipe is None else (pipe,),
        )
        if pipe is not None:
            os.close(pipe)
        self.runtime = runtime
        self.said: list[Line] = []
        self._stderr: list[str] = []
        self._news: queue.SimpleQueue[Line | None] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=read, daemon=True) for read in (self._read, self._read_errors)
        ]
        for thread in self._threads:
            thread.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for text in self.process.stdout:
            self._news.put(json.loads(text))
        self._news.put(None)

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        self._stderr += self.process.stderr

    def next_line(self) -> Line:
        """What it says next."""
        line = self._news.get(timeout=PATIENCE_S)
        if line is None:
            self.process.wait(PATIENCE_S)
            self._threads[1].join(PATIENCE_S)
            raise AssertionError(f"it ended with {self.process.returncode}: {''.join(self._stderr)}")
        self.said.append(line)
        return line

    def until_step(self, step: int) -> None:
        """Wait until it has taken so many steps."""
        while not self.said or self.said[-1].get("step", 0) < step:
            self.next_line()

    def record(self, *options: str, steps: int = 20) -> Recording:
        """Enter it, from outside, and record so many of its steps."""
        self.be_entered()
        command = [sys.executable, "-m", "tuimon", "record", str(self.process.pid)]
        command += ["--json", "--tensors", "--every", "1", "--steps", str(steps), *options]
        ran = subprocess.run(
            command, env=environment(self.runtime), capture_output=True, text=True, timeout=PATIENCE_S
        )
        assert ran.returncode == 0, ran.stderr
        return Recording([json.loads(line) for line in ran.stdout.splitlines()], ran.stderr)

    def be_entered(self) -> None:
        """Where the program cannot be entered from outside: ask the launcher, once."""
        if self._asking is None:
            return
        os.write(self._asking, b"\n")
        os.close(self._asking)
        self._asking = None
        listening = self.runtime / "tuimon"
        pause = threading.Event()
        while not any(listening.glob(f"{self.process.pid}-*")):
            assert self.process.poll() is None, "it ended"
            pause.wait(0.01)

    def stop(self) -> None:
        """End it in good order; everything it said is in `said` then, and its stderr was silent."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        while (line := self._news.get(timeout=PATIENCE_S)) is not None:
            self.said.append(line)
        self.process.wait(PATIENCE_S)
        self._threads[1].join(PATIENCE_S)
        assert (self.process.returncode, complaints("".join(self._stderr))) == (0, "")

    def kill(self) -> None:
        """End it in any case."""
        if self._asking is not None:
            os.close(self._asking)
            self._asking = None
        self.process.kill()
        self.process.wait()
        for thread in self._threads:
            thread.join(PATIENCE_S)
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()


@functools.cache
def can_enter() -> bool:
    """Whether a process may be entered from outside here: a debugger is installed and allowed."""
    child = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    try:
        with open(f"/proc/{child.pid}/mem", "rb"):
            return shutil.which("gdb") is not None
    except PermissionError:
        return False
    finally:
        child.communicate()


def environment(runtime: Path) -> dict[str, str]:
    """Sockets of these processes are in a directory of the test; one thread is enough."""
    return {**os.environ, "XDG_RUNTIME_DIR": str(runtime), "OMP_NUM_THREADS": "1"}


def complaints(stderr: str) -> str:
    """What was said on stderr, but for the line about kernels that are compiled once a machine."""
    lines = stderr.splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("tuimon: compiling its kernels"))


class Bare:
    """Runs programs that nobody attaches to, one after another, whichever thread asks."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "bare.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    def run(self, program: str, steps: int, ranks: int = 1) -> list[list[Line]]:
        """What the program says of so many steps, by rank."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        asked = {"program": str(PROGRAMS / program), "steps": steps, "ranks": ranks}
        with self._turn:
            self._process.stdin.write(json.dumps(asked) + "\n")
            self._process.stdin.flush()
            answer = json.loads(self._process.stdout.readline())
        assert answer["codes"] == [0] * ranks, "a twin failed: see stderr"
        return [[json.loads(line) for line in lines] for lines in answer["lines"]]

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


@dataclass(frozen=True)
class Run:
    """One program, entered in mid-run, recorded, left, and stopped; and its twin."""

    said: Sequence[Line]
    recording: Recording
    bare: Sequence[Line]

    @property
    def hello(self) -> Line:
        return self.recording.hello

    @property
    def samples(self) -> list[Line]:
        return self.recording.samples

    def pairs(self, skip: int = 0) -> Iterator[tuple[Line, Line]]:
        """Each sample, but for the first `skip`, with the program's account of the same step.

        They are found by their loss: where the optimizer's state counts no steps, and where a scaler leaves
        steps out, tuimon's numbers of steps are not the program's. Of several equal losses it is the first
        behind the sample before; for the first sample the one that the second follows closely.
        """
        first, *others = self.samples[skip:]
        starts = self._steps_like(first)
        if others:
            starts = [s for s in starts if any(s < t <= s + 4 for t in self._steps_like(others[0]))]
        step = starts[0]
        yield first, self._truths[step]
        for sample in others:
            step = next(s for s in self._steps_like(sample) if s > step)
            yield sample, self._truths[step]

    @functools.cached_property
    def _truths(self) -> dict[int, Line]:
        return {line["step"]: line for line in self.said if "loss" in line}

    def _steps_like(self, sample: Line) -> list[int]:
        """Steps with the sample's loss; of microbatches that were divided it is rounded once more."""
        truths = self._truths.items()
        return [step for step, truth in truths if close(sample["loss"], truth["loss"], 2.0**-20)]


def observe(loop: Loop, bare: Bare, program: str, steps: int) -> Run:
    """Enter the loop in mid-run, record so many steps, leave, let it go on a little, and stop it."""
    loop.until_step(10)
    recording = loop.record(steps=steps)
    last = loop.said[-1]["step"]
    loop.until_step(last + 5)
    loop.stop()
    took = max(line.get("step", 0) for line in loop.said)
    return Run(loop.said, recording, bare.run(program, took)[0])


def close(told: float | None, truth: float | None, rel: float) -> bool:
    """Whether both are absent, or both the same up to a relative error."""
    if told is None or truth is None:
        return told is truth
    return math.isclose(told, truth, rel_tol=rel, abs_tol=0.0)
