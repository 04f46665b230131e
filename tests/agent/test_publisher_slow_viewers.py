"""Viewers that read slowly or not at all, in the middle of a run and at its end."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from agent_double import HELLO, LAYOUT, sample
from viewing import BYE, PATIENCE_S, Commands, Viewer, past, publishing, threads

from tuimon.agent.publishing import server
from tuimon.agent.publishing.client import LAG_FRAMES
from tuimon.agent.publishing.publisher import PENDING, Publisher
from tuimon.agent.publishing.server import Server
from tuimon.records.sample import Notice, Sample
from tuimon.wire.codec import encode


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "sockets"


def wide(index: int) -> Sample:
    """A sample that a socket's buffer (some 200 KiB) holds few of."""
    return sample(index, trouble={"x": "y" * 20_000}, layout=1 if index <= 100 else 2)


@pytest.fixture
def stuck(directory: Path) -> Iterator[tuple[Publisher, Viewer, list[Any]]]:
    """A publisher, and a viewer that had everything and then stopped reading for 5 x `LAG_FRAMES` samples.

    The third is what was said beside the samples meanwhile; a second viewer has read everything.
    """
    said: list[Any] = [replace(LAYOUT, id=2), Notice(9, 1.0, "first"), Notice(9, 1.0, "second")]
    with publishing(directory) as publisher, Viewer(publisher.path) as lazy, Viewer(publisher.path) as eager:
        publisher.publish(sample(1))
        lazy.until_sample(1)
        eager.until_sample(1)
        last = 5 * LAG_FRAMES
        for index in range(2, last + 1):
            publisher.publish(wide(index))
            if index % 100 == 0:
                publisher.publish(said[index // 100 - 1])
            if index % (PENDING // 2) == 0:
                assert eager.until_sample(index)[-1] == wide(index)
        yield publisher, lazy, said


def test_a_viewer_that_lags_gets_the_newest_and_loses_only_samples(
    stuck: tuple[Publisher, Viewer, list[Any]],
) -> None:
    publisher, lazy, said = stuck
    last = 5 * LAG_FRAMES
    told = lazy.until_sample(last)
    assert [record for record in told if not isinstance(record, Sample)] == said
    indices = [record.index for record in told if isinstance(record, Sample)]
    assert indices == sorted(indices)
    # What was in the socket's buffer, and the newest.
    assert indices[:-1] == list(range(2, len(indices) + 1))
    assert len(indices) < LAG_FRAMES
    publisher.publish(sample(last + 1))
    assert lazy.until_sample(last + 1) == [LAYOUT, sample(last + 1)]
    publisher.close(BYE)
    assert lazy.rest() == [BYE]


def test_a_viewer_that_lags_at_the_end_is_told_the_end(
    stuck: tuple[Publisher, Viewer, list[Any]],
) -> None:
    publisher, lazy, said = stuck
    closing = threading.Thread(target=publisher.close, args=(BYE, PATIENCE_S))
    closing.start()
    told = lazy.rest()
    closing.join()
    assert [record for record in told if not isinstance(record, Sample)] == [*said, BYE]


def test_a_viewer_that_never_reads_does_not_hold_up_the_end(
    stuck: tuple[Publisher, Viewer, list[Any]],
) -> None:
    publisher, _, _ = stuck
    publisher.close(BYE)
    assert not threads()
    assert not publisher.path.exists()


@contextlib.contextmanager
def saying_goodbye(directory: Path, half_s: float, deadline_s: float) -> Iterator[Viewer]:
    """A viewer that has read nothing of a long past when the goodbye begins, so much time ahead of it.

    After the block the goodbye must have ended.
    """
    archive = past(wide(index) for index in range(1, 101))
    serving = Server(archive, lambda: encode(HELLO), Commands(), directory, check_s=1.0)
    with Viewer(serving.path) as viewer:
        serving.wait(PATIENCE_S)  # comes in
        serving.wait(PATIENCE_S)  # subscribes
        serving.serve()
        archive.append(BYE)
        now_s = time.monotonic()
        goodbye = threading.Thread(target=serving.say_goodbye, args=(now_s + half_s, now_s + deadline_s))
        goodbye.start()
        yield viewer
        goodbye.join(PATIENCE_S)
        ended = not goodbye.is_alive()
    goodbye.join()
    serving.close()
    assert ended


def test_with_time_a_viewer_of_the_past_gets_all_of_it(directory: Path) -> None:
    with saying_goodbye(directory, math.inf, math.inf) as viewer:
        told = viewer.rest()
    assert told == [HELLO, LAYOUT, *(wide(index) for index in range(1, 101)), BYE]


def test_when_time_is_short_a_viewer_of_the_past_gets_the_newest_and_the_end(directory: Path) -> None:
    with saying_goodbye(directory, 0.0, math.inf) as viewer:
        told = viewer.rest()
    indices = [record.index for record in told if isinstance(record, Sample)]
    assert indices == [*range(1, len(indices)), 100] and len(indices) < 100
    assert told[-1] == BYE


def test_who_takes_nothing_is_left(directory: Path) -> None:
    with saying_goodbye(directory, math.inf, math.inf):
        pass


def test_when_time_is_over_all_are_left(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "STUCK_S", math.inf)
    with saying_goodbye(directory, math.inf, 0.0):
        pass
