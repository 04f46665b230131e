"""What happens around a publisher: removed sockets, no descriptors, forks, signals, viewers killed."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import tracemalloc
from pathlib import Path

import pytest
from agent_double import HELLO, LAYOUT, sample
from viewing import BYE, PATIENCE_S, Commands, Viewer, publishing, threads, until_true

from tuimon.agent.publishing.archive import Archive
from tuimon.agent.publishing.listener import Listener
from tuimon.agent.publishing.publisher import Publisher
from tuimon.records.sample import Sample
from tuimon.wire.commands import Cadence, encode_command
from tuimon.wire.paths import UnsafeDirectory, process_start_ticks, socket_path
from tuimon.wire.unix import connect_unix, is_listening

SOON_S = 0.001


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "sockets"


def held() -> tuple[int, int]:
    """Descriptors and threads of this process."""
    return len(os.listdir("/proc/self/fd")), threading.active_count()


def answers(path: Path) -> bool:
    """Whether a publisher can be met at `path`."""
    try:
        with Viewer(path) as viewer:
            return viewer.next() == HELLO
    except OSError:
        return False


def test_it_listens_where_viewers_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    publisher = Publisher(lambda: HELLO, Commands())
    with pytest.raises(RuntimeError, match="not started"):
        _ = publisher.path
    publisher.start()
    assert publisher.path == socket_path(os.getpid(), process_start_ticks(os.getpid()))
    assert stat.S_IMODE(publisher.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(publisher.path.parent.stat().st_mode) == 0o700
    publisher.close(BYE)
    assert not publisher.path.exists()


def test_an_open_directory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "tuimon").mkdir()
    (tmp_path / "tuimon").chmod(0o755)
    before = held()
    publisher = Publisher(lambda: HELLO, Commands())
    with pytest.raises(UnsafeDirectory):
        publisher.start()
    publisher.publish(LAYOUT)
    publisher.close(BYE)
    assert held() == before


def test_a_second_publisher_of_one_process_is_told_so(directory: Path) -> None:
    with publishing(directory) as first:
        before = held()
        with pytest.raises(OSError, match="somebody listens there already"):
            Publisher(lambda: HELLO, Commands(), directory).start()
        until_true(lambda: held() == before)  # the first has seen somebody look whether it listens
        assert answers(first.path)


def test_no_thread_can_be_had(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    before = held()
    publisher = Publisher(lambda: HELLO, Commands(), directory)
    monkeypatch.setattr(threading.Thread, "start", fail)
    with pytest.raises(RuntimeError, match="new thread"):
        publisher.start()
    publisher.publish(LAYOUT)
    publisher.close(BYE)
    assert held() == before
    assert list(directory.iterdir()) == []


@pytest.mark.parametrize("what", ["socket", "directory"])
def test_a_socket_that_is_removed_comes_back(directory: Path, what: str) -> None:
    with publishing(directory, check_s=SOON_S) as publisher, Viewer(publisher.path) as viewer:
        viewer.next()
        if what == "socket":
            publisher.path.unlink()
        else:
            shutil.rmtree(directory)
        until_true(lambda: answers(publisher.path))
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        publisher.publish(sample(1))
        assert viewer.until_sample(1)[-1] == sample(1), "who was there before is still served"
    assert not publisher.path.exists()


def test_a_socket_that_cannot_come_back_harms_nobody(directory: Path) -> None:
    with publishing(directory, check_s=SOON_S) as publisher, Viewer(publisher.path) as viewer:
        shutil.rmtree(directory)
        directory.write_text("in the way")  # as good as a disk that is full
        for index in range(1, 21):
            publisher.publish(sample(index))
            assert viewer.until_sample(index)[-1] == sample(index)
        directory.unlink()
        until_true(lambda: answers(publisher.path))


def test_what_stands_in_the_place_of_its_socket_is_not_removed(directory: Path) -> None:
    with publishing(directory) as publisher:
        publisher.path.unlink()
        publisher.path.write_text("mine")
    assert publisher.path.read_text() == "mine"


def test_without_descriptors_those_who_are_there_are_served(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = []

    def none_left(_: Listener) -> socket.socket:
        attempts.append(1)
        raise OSError(errno.EMFILE, "Too many open files")

    for check_s in (1000.0, SOON_S):
        with publishing(directory, check_s=check_s) as publisher, Viewer(publisher.path) as viewer:
            viewer.next()
            with monkeypatch.context() as patch:
                attempts.clear()
                patch.setattr(Listener, "accept", none_left)
                later = Viewer(publisher.path)
                for index in range(1, 11):
                    publisher.publish(sample(index))
                    assert viewer.until_sample(index)[-1] == sample(index)
                if check_s == 1000.0:
                    assert len(attempts) == 1, "it asks again and again"
                else:
                    until_true(lambda: len(attempts) > 2)
            if check_s == SOON_S:
                assert later.next() == HELLO
            later.leave()


def test_a_viewer_that_is_killed_is_missed_by_nobody(directory: Path) -> None:
    program = """
import sys
from pathlib import Path
from viewing import Viewer
viewer = Viewer(Path(sys.argv[1]))
viewer.next()
print("reading", flush=True)
while True:
    viewer.next()
"""
    with publishing(directory) as publisher, Viewer(publisher.path) as bystander:
        paths = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "attach")]
        with subprocess.Popen(
            [sys.executable, "-c", program, str(publisher.path)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            stdout=subprocess.PIPE,
        ) as victim:
            assert victim.stdout is not None
            assert victim.stdout.readline() == b"reading\n"
            for index in range(1, 201):
                publisher.publish(sample(index))
                if index == 100:
                    victim.kill()
                if index % 20 == 0:
                    bystander.until_sample(index)
        until_true(lambda: publisher.viewers == 1)


def test_a_broken_pipe_does_not_end_a_training_that_asked_for_it(directory: Path) -> None:
    before = signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        entered, free = threading.Event(), threading.Event()

        def hold_up(_: object) -> None:
            entered.set()
            assert free.wait(PATIENCE_S)

        with publishing(directory, hold_up) as publisher, Viewer(publisher.path) as other:
            viewer = Viewer(publisher.path)
            viewer.next()
            other.say(encode_command(Cadence(every=1)))
            assert entered.wait(PATIENCE_S)
            # Gone while the thread looks elsewhere: it learns so by sending.
            viewer.leave()
            publisher.publish(sample(1))
            free.set()
            until_true(lambda: publisher.viewers == 1)
    finally:
        signal.signal(signal.SIGPIPE, before)


def test_signals_are_the_main_threads(directory: Path) -> None:
    with publishing(directory) as publisher, Viewer(publisher.path) as viewer:
        assert viewer.next() == HELLO
        (thread,) = (one for one in threading.enumerate() if one.name == "tuimon-publisher")
        status = Path(f"/proc/self/task/{thread.native_id}/status").read_text()
        (line,) = (line for line in status.splitlines() if line.startswith("SigBlk:"))
        blocked = int(line.split()[1], 16)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGCHLD):
            assert blocked >> (number - 1) & 1
        assert not blocked >> (signal.SIGSEGV - 1) & 1, "faulthandler would stay silent"


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_fork_takes_nothing_with_it(directory: Path) -> None:
    before, _ = held()
    with publishing(directory) as publisher, Viewer(publisher.path) as viewer:
        viewer.next()
        child = os.fork()
        if child == 0:
            status = 1
            try:
                viewer.leave()
                publisher.publish(sample(1))
                publisher.greet()
                publisher.close(BYE)
                left = len(os.listdir("/proc/self/fd"))
                if left == before and publisher.viewers == 0 and is_listening(publisher.path):
                    status = 0
            finally:
                os._exit(status)
        _, status = os.waitpid(child, 0)
        assert status == 0
        publisher.publish(sample(2))
        told = viewer.until_sample(2)
        assert [record.index for record in told if isinstance(record, Sample)] == [2]
        assert answers(publisher.path)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_fork_outlives_the_publisher_without_keeping_its_viewers(directory: Path) -> None:
    reader, writer = os.pipe()
    with publishing(directory) as publisher, Viewer(publisher.path) as viewer:
        viewer.next()
        child = os.fork()
        if child == 0:
            os.close(writer)
            os.read(reader, 1)  # until the parent is done
            os._exit(0)
        publisher.close(BYE)
        assert viewer.rest()[-1] == BYE, "the child holds the connection open"
    os.close(writer)
    os.close(reader)
    assert os.waitpid(child, 0)[1] == 0


def test_nothing_is_left_behind(directory: Path) -> None:
    before = held()
    for _ in range(10):
        with publishing(directory) as publisher:
            with Viewer(publisher.path) as viewer, connect_unix(publisher.path):
                publisher.publish(sample(1))
                viewer.until_sample(1)
            publisher.close(BYE)
            publisher.close(BYE)
            publisher.publish(sample(2))
    assert held() == before
    assert not threads()
    assert list(directory.iterdir()) == []


def test_memory_is_flat(directory: Path) -> None:
    limit_bytes = 1 << 18
    archive = Archive(limit_bytes)
    archive.append(LAYOUT)

    def train(first: int, last: int) -> None:
        for index in range(first, last):
            publisher.publish(sample(index))
            if index % 50 == 0:
                viewer.until_sample(index)

    with publishing(directory, archive=archive) as publisher, Viewer(publisher.path) as viewer:
        train(1, 1001)  # well over the limit
        assert archive.size_bytes > limit_bytes // 2
        tracemalloc.start()
        try:
            train(1001, 2001)
            grown_bytes, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    # What was made since is what the archive replaced: frames, and beside each an entry that weighs
    # less than the frame. The thousand samples themselves would weigh four times the limit.
    assert grown_bytes < 2 * limit_bytes
