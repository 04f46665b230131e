"""File work for another user. Root must not do it as root: in that user's folders it could be led astray."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def acting_as(uid: int, gid: int) -> Iterator[None]:
    """What this thread does with files in here, it does with that user's rights, and what it makes is theirs.

    Other threads are not concerned. Nothing changes where this process is that user's already.

    Raises:
        OSError: this process may not act for that user.
    """
    if uid == os.geteuid():
        yield
        return
    libc = ctypes.CDLL(None)
    own_gid = libc.setfsgid(gid)
    own_uid = libc.setfsuid(uid)
    try:
        # They tell no failure; asked for an impossible id, they tell the present one.
        if (libc.setfsuid(-1), libc.setfsgid(-1)) != (uid, gid):
            raise PermissionError(f"this process may not act for user {uid}")
        yield
    finally:
        libc.setfsuid(own_uid)
        libc.setfsgid(own_gid)
