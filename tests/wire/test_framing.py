"""Payloads come out as they went in, whatever the chunks."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuimon.wire.errors import BadFrame, FrameTooLong
from tuimon.wire.framing import MAX_PAYLOAD_BYTES, Decoder, length_prefix

PAYLOADS = st.lists(st.binary(max_size=30), max_size=6)


def framed(payloads: list[bytes]) -> bytes:
    return b"".join(length_prefix(len(payload)) + payload for payload in payloads)


@given(PAYLOADS, st.lists(st.integers(0, 200), max_size=20))
def test_any_chunking_gives_the_same_payloads(payloads: list[bytes], cuts: list[int]) -> None:
    stream = framed(payloads)
    borders = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    decoder = Decoder()
    found = [p for a, b in itertools.pairwise(borders) for p in decoder.feed(stream[a:b])]
    assert found == payloads
    assert decoder.pending_bytes == 0


@given(PAYLOADS, st.binary(min_size=1, max_size=30), st.data())
def test_what_was_cut_off_is_pending(payloads: list[bytes], last: bytes, data: st.DataObject) -> None:
    cut = data.draw(st.integers(1, 3 + len(last)))
    decoder = Decoder()
    assert decoder.feed(framed(payloads) + framed([last])[:cut]) == payloads
    assert decoder.pending_bytes == cut


@pytest.mark.parametrize("length", [MAX_PAYLOAD_BYTES + 1, 2**32 - 1])
def test_a_length_above_the_cap_is_refused_for_good(length: int) -> None:
    decoder = Decoder()
    for chunk in (length.to_bytes(4, "little"), b"more", b""):
        with pytest.raises(FrameTooLong, match=str(length)):
            decoder.feed(chunk)
        assert decoder.pending_bytes == 4  # nothing of such a frame is kept


def test_the_reader_may_set_a_lower_cap() -> None:
    decoder = Decoder(limit_bytes=10)
    assert decoder.feed(framed([b"x" * 10])) == [b"x" * 10]
    with pytest.raises(BadFrame, match="cap of 10"):
        decoder.feed(framed([b"x" * 11]))


def test_the_writer_keeps_the_cap() -> None:
    assert length_prefix(MAX_PAYLOAD_BYTES) == MAX_PAYLOAD_BYTES.to_bytes(4, "little")
    with pytest.raises(FrameTooLong):
        length_prefix(MAX_PAYLOAD_BYTES + 1)
