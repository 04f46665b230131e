"""Writing a recording: safe against being killed, and of bounded size."""

from __future__ import annotations

import sqlite3
import time
import zlib
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tuimon.recording import rows, schema
from tuimon.recording.errors import RecordingError, Unwritable
from tuimon.records.alert import Alert
from tuimon.records.hello import Hello
from tuimon.records.record import Record
from tuimon.records.sample import Bye, Sample
from tuimon.wire.codec import TYPES, encode

#: What a kill -9 may cost, seconds of the recorded past: so often what was written is made to last.
COMMIT_S = 1.0
#: From this size on, bytes of frames, tensors of older samples make room for new ones; see `Recorder`.
LIMIT_BYTES = 2**30
#: Share of the samples, the newest ones, that keep their tensors in any case.
_KEPT = 8
#: Level of zlib. A synthetic sample of 298 layers (1616 tensors with histograms, 416 kB): 76 kB in 1.7 ms at
#: level 1, 69 kB in 2.2 ms at 3, 62 kB in 5.1 ms at 6 (one thread of an AMD EPYC).
_LEVEL = 1
#: Length prefix of a frame on the wire, which a file does not need.
_PREFIX_BYTES = 4

_KINDS = {cls: name for name, cls in TYPES.items()}


class Recorder:
    """Adds runs to a recording, which is made if there is none. One thread calls everything.

    The file is a database in SQLite's rollback mode, which network file systems bear as well: a single
    file whenever it is closed, and after a crash as soon as it is opened again. Of the last second what
    was not committed may be lost then.

    When the frames exceed `limit_bytes`, every second sample of the older part loses its frame, and so on
    from the oldest to the newest as room is needed: the further back, the fewer samples have their tensors,
    while the scalars of all of them stay in the table.

    Args:
        path: the file.
        limit_bytes: how much the frames may take.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        path: Path,
        *,
        limit_bytes: int = LIMIT_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Open it.

        Raises:
            RecordingError: what stands there is no recording, or it cannot be written to.
        """
        self.path = path
        self._limit_bytes, self._clock = limit_bytes, clock
        self._run: int | None = None
        self._who: tuple[int, float] | None = None
        self._seq = 0
        self._written_s: float | None = None
        self._victims: deque[tuple[int, int]] = deque()
        try:
            if path.exists() and path.stat().st_size:
                schema.check(path)
            self._database = sqlite3.connect(path, timeout=schema.BUSY_S, isolation_level=None)
        except (OSError, sqlite3.Error) as error:
            raise _unwritable(path, error) from None
        try:
            self._prepare()
        except sqlite3.Error as error:
            self._database.close()
            raise _unwritable(path, error) from None
        except BaseException:
            self._database.close()
            raise

    def _prepare(self) -> None:
        (version,) = self._database.execute("PRAGMA user_version").fetchone()
        if not version:
            schema.create(self._database)
        # Losing power may cost the last commits, never the file.
        self._database.execute("PRAGMA synchronous = NORMAL")
        # Now, and not with the first sample: a file that nobody may write to.
        self._database.execute("BEGIN IMMEDIATE")
        self._database.execute("COMMIT")
        (size,) = self._database.execute("SELECT total(length(frame)) FROM frames").fetchone()
        self._frame_bytes = int(size)

    def write(self, record: Record) -> None:
        """Add one record; another training's `Hello` begins another run. What comes before any is left out.

        Raises:
            RecordingError: the disk is full, or the file is gone; nothing more can be written.
        """
        with _Failing(self.path):
            self._begin()
            if isinstance(record, Hello):
                self._introduce(record)
            if self._run is None:
                return
            self._seq += 1
            frame = zlib.compress(encode(record)[_PREFIX_BYTES:], _LEVEL)
            self._insert("frames", [(self._run, self._seq, _KINDS[type(record)], frame)])
            self._frame_bytes += len(frame)
            for table, found in rows.of(record):
                keys = (self._run,) if table in rows.KEYED_BY_LAYOUT else (self._run, self._seq)
                self._insert(table, [(*keys, *row) for row in found])
            if isinstance(record, Sample):
                self._make_room()
            if isinstance(record, Bye):
                self.end(record.reason, record.time_s)
        self.commit_if_due()

    def alert(self, alert: Alert) -> None:
        """Add an alert, after the sample that it was judged from.

        Raises:
            RecordingError: as `write`.
        """
        if self._run is None:
            return
        with _Failing(self.path):
            self._begin()
            self._insert("alerts", [(self._run, self._seq, *rows.of_alert(alert))])

    def end(self, reason: str, time_s: float) -> None:
        """Note how and when (Unix time) the run ended.

        Raises:
            RecordingError: as `write`.
        """
        if self._run is None:
            return
        with _Failing(self.path):
            self._begin()
            told = (time_s, reason, self._run)
            self._database.execute("UPDATE runs SET ended_s = ?, end_reason = ? WHERE run = ?", told)
            self._commit()

    def commit_if_due(self) -> None:
        """Make what was written last, if that is due; to be called now and then when nothing is written.

        Raises:
            RecordingError: as `write`.
        """
        if self._written_s is not None and self._clock() - self._written_s >= COMMIT_S:
            with _Failing(self.path):
                self._commit()

    def close(self) -> None:
        """Make everything last, and leave one file. Idempotent.

        Raises:
            RecordingError: as `write`.
        """
        try:
            with _Failing(self.path):
                self._commit()
        finally:
            with suppress(sqlite3.Error):
                self._database.close()

    def _introduce(self, hello: Hello) -> None:
        told = rows.of_hello(hello)
        if self._who != (hello.pid, hello.started_s):
            self._who, self._seq = (hello.pid, hello.started_s), 0
            names, marks = ", ".join(told), ", ".join("?" * len(told))
            made = self._database.execute(f"INSERT INTO runs ({names}) VALUES ({marks})", [*told.values()])
            self._run = made.lastrowid
            return
        names = ", ".join(f"{name} = ?" for name in told)
        self._database.execute(f"UPDATE runs SET {names} WHERE run = ?", [*told.values(), self._run])

    def _insert(self, table: str, found: list[tuple[object, ...]]) -> None:
        if found:
            marks = ", ".join("?" * len(found[0]))
            self._database.executemany(f"INSERT OR REPLACE INTO {table} VALUES ({marks})", found)

    def _make_room(self) -> None:
        while self._frame_bytes > self._limit_bytes:
            if not self._victims:
                kept = self._database.execute(
                    "SELECT rowid, length(frame) FROM frames WHERE kind = 'sample' ORDER BY run, seq"
                ).fetchall()
                self._victims.extend(kept[: len(kept) - len(kept) // _KEPT][1::2])
                if not self._victims:
                    return
            rowid, size_bytes = self._victims.popleft()
            self._database.execute("DELETE FROM frames WHERE rowid = ?", (rowid,))
            self._frame_bytes -= size_bytes

    def _begin(self) -> None:
        if self._written_s is None:
            self._database.execute("BEGIN IMMEDIATE")
            self._written_s = self._clock()

    def _commit(self) -> None:
        if self._written_s is not None:
            self._written_s = None
            # After some errors, a full disk among them, SQLite has taken the transaction back by itself.
            if self._database.in_transaction:
                self._database.execute("COMMIT")


class _Failing:
    """Turns SQLite's errors into ours."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        return

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, sqlite3.Error):
            raise _unwritable(self._path, error) from None


def _unwritable(path: Path, error: OSError | sqlite3.Error) -> RecordingError:
    why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    full = "full" in why
    return Unwritable(path, why, "make room and record anew" if full else "name a file in a folder of yours")
