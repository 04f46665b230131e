"""What watching costs the person who watches: ``python -m bench.viewer [--write] [--seconds N]``.

A process plays the agent: it serves a `SyntheticRun` over a Unix socket, its past at once and then four
samples a second. The viewer is the real one, source and rules included, on a pseudo-terminal of 120x40.
Measured from outside: bytes that reach the terminal, CPU time and memory by /proc, times from the start of
the process, and from a key to the first byte of the answer (the heat map's value is switched to and fro).

    first paint   the frames stand            live   numbers of the training are on the screen
"""

from __future__ import annotations

import argparse
import csv
import fcntl
import os
import platform
import pty
import select
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import time
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import numpy as np
import textual

from bench.synthetic_run import SyntheticRun

COLUMNS, ROWS = 120, 40
RATE_HZ = 4.0
#: Layers of a block of the synthetic run, and outside of its blocks.
_PER_BLOCK, _OUTSIDE = 7, 4
RESULT = Path(__file__).parent / "results" / "viewer.csv"
#: Seconds until start-up, and the backlog, no longer count.
_SETTLED_S = 6.0
#: Time for the past, seconds by sample and layer.
_CATCHING_UP_S = 3e-5
#: A switched heat map is at least that many bytes; a sample's news is less.
_SWITCHED_BYTES = 1500


@dataclass(frozen=True, slots=True)
class Line:
    """One workload: one line of the CSV."""

    layers: int
    past_samples: int
    first_paint_s: float
    live_s: float
    bytes_per_s: float
    cpu_ratio: float
    peak_rss_mb: float
    key_p20_ms: float
    key_p50_ms: float
    key_p80_ms: float


def serve(path: Path, layers: int, past: int) -> None:
    """Play the agent for one viewer."""
    from tuimon.wire.codec import encode

    run = SyntheticRun(blocks=(layers - _OUTSIDE) // _PER_BLOCK)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    listening.listen(1)
    # As the agent keeps it: the past has no bins.
    samples = [
        replace(sample, tensors=sample.tensors.without_histograms()) for sample in run.samples(past)
    ]
    history = b"".join([encode(run.hello), encode(run.layout), *map(encode, samples)])
    print("ready", flush=True)
    connection, _ = listening.accept()
    connection.sendall(history)
    index, due = past, time.monotonic()
    while True:
        index, due = index + 1, due + 1 / RATE_HZ
        frame = encode(run.sample(index, time_s=time.time()))
        time.sleep(max(0.0, due - time.monotonic()))
        try:
            connection.sendall(frame)
        except OSError:
            return


def show(path: Path) -> None:
    """Be the viewer."""
    from tuimon.attach.source import Source
    from tuimon.attach.transport import UnixTransport
    from tuimon.tui.app import MonitorApp

    MonitorApp(lambda deliver: Source(UnixTransport(path), deliver, lambda: True), "4711").run()


class Viewer:
    """The viewer's process on a terminal of ours."""

    def __init__(self, path: Path) -> None:
        self.began_s = time.monotonic()
        self._own, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", ROWS, COLUMNS, 0, 0))
        environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", "LC_ALL": "C.UTF-8"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bench.viewer", "--show", str(path)],
            stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True,
        )  # fmt: skip
        os.close(theirs)

    def read(self, timeout_s: float) -> bytes:
        """What the terminal is sent next; nothing when nothing comes in time."""
        ready, _, _ = select.select([self._own], [], [], max(0.0, timeout_s))
        return os.read(self._own, 1 << 20) if ready else b""

    def until(self, text: bytes) -> float:
        """Seconds from the start to that text."""
        seen = b""
        while text not in seen:
            seen = seen[-4096:] + self.read(60.0)
        return time.monotonic() - self.began_s

    def bytes_in(self, seconds: float) -> int:
        """Bytes sent within that time."""
        until, total = time.monotonic() + seconds, 0
        while (left := until - time.monotonic()) > 0:
            total += len(self.read(left))
        return total

    def key_s(self, key: bytes) -> float:
        """Seconds from a key to the first byte of a picture that is another one."""
        self.bytes_in(0.4)
        while self.read(0.02):
            pass
        start = time.monotonic()
        os.write(self._own, key)
        while True:
            first = self.read(5.0)
            at = time.monotonic()
            total = len(first)
            while total < _SWITCHED_BYTES and (more := self.read(0.03)):
                total += len(more)
            if total >= _SWITCHED_BYTES or at - start > 5.0:
                return at - start

    def cpu_s(self) -> float:
        """CPU time of the process and its threads so far."""
        fields_ = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields_[11]) + int(fields_[12])) / os.sysconf("SC_CLK_TCK")

    def peak_rss_mb(self) -> float:
        """The most memory that it ever held."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) / 1000

    def close(self) -> None:
        """End it by taking its terminal away."""
        os.close(self._own)
        self.process.wait(20)


def measure(layers: int, past: int, seconds: float) -> Line:
    """One workload from its start to its end."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "agent"
        agent = subprocess.Popen(
            [sys.executable, "-m", "bench.viewer", "--serve", str(path), str(layers), str(past)],
            stdout=subprocess.PIPE,
        )  # fmt: skip
        assert agent.stdout is not None
        agent.stdout.readline()
        viewer = Viewer(path)
        try:
            first_paint_s = viewer.until("╭".encode())
            live_s = viewer.until(b"it/s")
            viewer.bytes_in(_SETTLED_S + past * layers * _CATCHING_UP_S)
            cpu_s, start = viewer.cpu_s(), time.monotonic()
            sent = viewer.bytes_in(seconds)
            lasted = time.monotonic() - start
            cpu_ratio = (viewer.cpu_s() - cpu_s) / lasted
            keys = [1e3 * viewer.key_s(b"ag"[i % 2 : i % 2 + 1]) for i in range(15)]
            p20, p50, p80 = (float(q) for q in np.percentile(keys, (20, 50, 80)))
            return Line(layers, past, first_paint_s, live_s, sent / lasted, cpu_ratio,
                        viewer.peak_rss_mb(), p20, p50, p80)  # fmt: skip
        finally:
            viewer.close()
            agent.kill()
            agent.wait()


def main() -> None:
    """Print a table; with ``--write`` also keep it as CSV."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--serve", nargs=3, metavar=("PATH", "LAYERS", "PAST"), help=argparse.SUPPRESS)
    parser.add_argument("--show", metavar="PATH", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        return serve(Path(options.serve[0]), int(options.serve[1]), int(options.serve[2]))
    if options.show:
        return show(Path(options.show))
    names = [field.name for field in fields(Line)]
    print("  ".join(names))
    lines = []
    for layers, past in ((60, 200), (298, 200), (298, 2000), (3000, 50)):
        lines.append(measure(layers, past, options.seconds))
        values = asdict(lines[-1]).items()
        print("  ".join(f"{value:>{len(name)}.4g}" for name, value in values), flush=True)
    if options.write:
        write(lines)
    return None


def device() -> str:
    """The processor's name."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def write(lines: list[Line]) -> None:
    """Keep the table beside the versions it was measured with."""
    about = {"device": device(), "python": platform.python_version(),
             "textual": textual.__version__, "numpy": np.__version__}  # fmt: skip
    RESULT.parent.mkdir(exist_ok=True)
    with RESULT.open("w", newline="") as file:
        writer = csv.DictWriter(file, [*about, *(field.name for field in fields(Line))], lineterminator="\n")
        writer.writeheader()
        for line in lines:
            rounded = {name: f"{value:.4g}" for name, value in asdict(line).items()}
            writer.writerow({**about, **rounded})


if __name__ == "__main__":
    main()
