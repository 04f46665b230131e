"""Where one message ends and the next begins: a length in front of each payload.

frame = length of the payload (4 bytes, little-endian, unsigned) + payload
"""

from __future__ import annotations

import struct

from tuimon.wire.errors import FrameTooLong

#: Longest payload either side sends or accepts, bytes. A sample of 100 000 tensors with full
#: histograms stays below it; four garbage bytes read as a length nearly always lie above it.
MAX_PAYLOAD_BYTES = 64 * 1024 * 1024

_LENGTH = struct.Struct("<I")


def length_prefix(payload_bytes: int) -> bytes:
    """The four bytes in front of a payload of that length.

    Raises:
        FrameTooLong: the payload is above `MAX_PAYLOAD_BYTES`.
    """
    if payload_bytes > MAX_PAYLOAD_BYTES:
        raise FrameTooLong(payload_bytes, MAX_PAYLOAD_BYTES)
    return _LENGTH.pack(payload_bytes)


class Decoder:
    """Cuts a stream of bytes, in whatever chunks it arrives, into payloads."""

    def __init__(self, limit_bytes: int = MAX_PAYLOAD_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._buffer = bytearray()

    @property
    def pending_bytes(self) -> int:
        """Bytes of a frame that is not complete yet; not 0 at the end of a stream: it was cut off."""
        return len(self._buffer)

    def feed(self, chunk: bytes) -> list[bytes]:
        """The payloads that `chunk` completes, in order.

        Raises:
            FrameTooLong: a frame announces more than the limit. It is raised before more than the
                announcement is kept, and again by every later call: the stream has no border any more.
        """
        buffer = self._buffer
        buffer += chunk
        payloads: list[bytes] = []
        start = 0
        try:
            while len(buffer) - start >= _LENGTH.size:
                (length,) = _LENGTH.unpack_from(buffer, start)
                if length > self._limit_bytes:
                    raise FrameTooLong(length, self._limit_bytes)
                end = start + _LENGTH.size + length
                if len(buffer) < end:
                    break
                payloads.append(bytes(memoryview(buffer)[start + _LENGTH.size : end]))
                start = end
        except FrameTooLong:
            del buffer[:start]
            del buffer[_LENGTH.size :]
            raise
        del buffer[:start]
        return payloads
