"""The smallest viewer: reads all that an agent sends until it ends. ``python -m bench.reader SOCKET``.

Says "reading" once the first bytes are there, and in the end one JSON line about the last sample.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tuimon.records.sample import Sample
from tuimon.wire.codec import decode
from tuimon.wire.commands import Subscribe, encode_command
from tuimon.wire.framing import Decoder
from tuimon.wire.unix import connect_unix

if TYPE_CHECKING:
    import socket

_SAMPLE = b'"type":"sample"'
#: Within these first bytes of a payload its type stands: a sample's JSON header is far shorter.
_HEADER_BYTES = 1 << 14


def read(connection: socket.socket) -> dict[str, object]:
    """Read to the end; what the last sample said of itself, and how many bytes came in all."""
    decoder, count_bytes, last = Decoder(), 0, b""
    while chunk := connection.recv(1 << 20):
        if not count_bytes:
            print("reading", flush=True)
        count_bytes += len(chunk)
        for payload in decoder.feed(chunk):
            # Only recognised: decoding each one is a real viewer's work, on its own core.
            if payload.find(_SAMPLE, 0, _HEADER_BYTES) >= 0:
                last = payload
    return {"bytes": count_bytes, **told(last)}


def newest(connection: socket.socket) -> dict[str, object]:
    """What the newest sample says of itself; nothing where the agent has none."""
    decoder = Decoder()
    try:
        while chunk := connection.recv(1 << 20):
            for payload in decoder.feed(chunk):
                if payload.find(_SAMPLE, 0, _HEADER_BYTES) >= 0:
                    return told(payload)
    except TimeoutError:
        pass
    return {}


def told(payload: bytes) -> dict[str, object]:
    """The parts of one encoded sample that a bench wants to know; nothing of an empty payload."""
    sample = decode(payload) if payload else None
    if not isinstance(sample, Sample):
        return {}
    return {"samples": sample.index, "every": sample.every, "overhead_s": sample.overhead_s,
            "rows": len(sample.tensors), "sample_bytes": len(payload)}  # fmt: skip


def main() -> None:
    """Connect, read, report."""
    connection = connect_unix(Path(sys.argv[1]), timeout_s=60.0)
    connection.sendall(encode_command(Subscribe()))
    connection.settimeout(None)
    print(json.dumps(read(connection)), flush=True)


if __name__ == "__main__":
    main()
