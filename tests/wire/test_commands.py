"""The closed list of what a viewer may ask, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_strategies import RECORDS, payload_from, payload_of

from tuimon.records.record import Record
from tuimon.wire.codec import decode, encode
from tuimon.wire.commands import (
    MAX_COMMAND_BYTES,
    Cadence,
    Command,
    Detach,
    Measure,
    Subscribe,
    decode_command,
    encode_command,
)
from tuimon.wire.envelope import WIRE_VERSION
from tuimon.wire.errors import BadFrame, WireError, WrongVersion

COMMANDS: st.SearchStrategy[Command] = st.one_of(
    st.builds(Subscribe, st.booleans(), st.booleans()),
    st.builds(Cadence, every=st.integers(1)),
    st.builds(Cadence, budget_ratio=st.floats(0.0, 1.0, exclude_min=True)),
    st.just(Cadence()),
    st.builds(Measure, every=st.integers(1), pairs=st.integers(1, 1000), token=st.text(max_size=64)),
    st.builds(Measure, budget_ratio=st.floats(0.0, 1.0, exclude_min=True)),
    st.just(Detach()),
)


@given(COMMANDS)
def test_every_command_survives(command: Command) -> None:
    payload = payload_of(encode_command(command))
    assert decode_command(payload) == command
    assert decode(payload) is None


@given(RECORDS)
def test_no_record_is_a_command(record: Record) -> None:
    assert decode_command(payload_of(encode(record))) is None


def test_commands_are_small() -> None:
    longest = Cadence(budget_ratio=0.123456789012345678)
    assert len(encode_command(longest)) < MAX_COMMAND_BYTES / 10


@given(st.binary(max_size=100))
def test_garbage_is_refused_by_name(payload: bytes) -> None:
    with pytest.raises(WireError):
        decode_command(payload)


@pytest.mark.parametrize(
    "fields",
    [
        {"type": "subscribe", "history": 1},
        {"type": "subscribe", "histograms": None},
        {"type": "cadence", "every": 0},
        {"type": "cadence", "every": 1.5},
        {"type": "cadence", "every": True},
        {"type": "cadence", "every": "1"},
        {"type": "cadence", "budget_ratio": 0.0},
        {"type": "cadence", "budget_ratio": 1.5},
        {"type": "cadence", "budget_ratio": float("nan")},
        {"type": "cadence", "budget_ratio": [0.1]},
        {"type": "cadence", "every": 1, "budget_ratio": 0.1},
        {"type": "measure", "every": 0},
        {"type": "measure", "pairs": 0},
        {"type": "measure", "pairs": 1001},
        {"type": "measure", "pairs": 1.5},
        {"type": "measure", "token": 1},
        {"type": "measure", "token": "x" * 65},
    ],
    ids=str,
)
def test_the_impossible_is_a_bad_frame(fields: dict[str, object]) -> None:
    with pytest.raises(BadFrame):
        decode_command(payload_from({"v": WIRE_VERSION, **fields}))


def test_another_version_is_refused() -> None:
    with pytest.raises(WrongVersion):
        decode_command(payload_from({"v": WIRE_VERSION + 1, "type": "detach"}))


def test_unknown_commands_and_fields_are_ignored() -> None:
    assert decode_command(payload_from({"v": WIRE_VERSION, "type": "dance"})) is None
    assert decode_command(payload_from({"v": WIRE_VERSION, "type": "subscribe", "x": 1})) == Subscribe()
