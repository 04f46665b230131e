"""The smallest viewer: what it keeps of a stream."""

from __future__ import annotations

import json
import socket

import pytest

from bench.reader import newest, read
from tuimon.records.sample import Bye, Sample
from tuimon.wire.codec import encode

LOG = encode(Bye("finished"))
TOLD = {"samples": 7, "every": 3, "overhead_s": 0.25, "rows": 0}


def stream(*frames: bytes) -> socket.socket:
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.sendall(b"".join(frames))
    return ours


def sample(index: int) -> bytes:
    return encode(Sample(index, 20, 0.0, 1, every=3, overhead_s=0.25))


def test_it_reads_to_the_end_and_tells_of_the_last_sample(capsys: pytest.CaptureFixture[str]) -> None:
    frames = [sample(6), sample(7), LOG]
    with stream(*frames) as connection:
        told = read(connection)
    assert told == {**TOLD, "bytes": len(b"".join(frames)), "sample_bytes": len(sample(7)) - 4}
    assert capsys.readouterr().out == "reading\n"
    json.dumps(told)


def test_without_a_sample_there_is_nothing_to_tell() -> None:
    with stream(LOG) as connection:
        assert read(connection) == {"bytes": len(LOG)}
    with stream(LOG) as connection:
        assert newest(connection) == {}


def test_the_newest_is_the_first_that_comes() -> None:
    with stream(LOG, sample(7)) as connection:
        assert newest(connection) == {**TOLD, "sample_bytes": len(sample(7)) - 4}
