"""What can be wrong with bytes that arrive.

WireError
├── BadFrame            garbage, truncation, fields that do not fit their record
│   └── FrameTooLong    a length above the cap: refused before a byte of it is kept
└── WrongVersion        the other side speaks another version of the wire
"""

from __future__ import annotations


class WireError(Exception):
    """Base of everything that reading the wire may raise."""


class BadFrame(WireError):
    """The bytes are no frame of this protocol. The connection is of no further use."""


class FrameTooLong(BadFrame):
    """A frame is longer than its reader or writer accepts."""

    def __init__(self, length_bytes: int, limit_bytes: int) -> None:
        super().__init__(f"a frame of {length_bytes} bytes, above the cap of {limit_bytes}")
        self.length_bytes = length_bytes
        self.limit_bytes = limit_bytes


class WrongVersion(WireError):
    """The other side speaks another version of the wire; asking again does not help."""

    def __init__(self, theirs: object, ours: int) -> None:
        super().__init__(
            f"the other side speaks version {theirs!r:.40} of the wire, this side version {ours}: "
            "install the same tuimon on both sides"
        )
        self.theirs = theirs
        self.ours = ours
