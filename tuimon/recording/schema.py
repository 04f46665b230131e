"""The SQLite file of a recording. Tables and columns are a contract with whoever queries it: add only."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from tuimon.recording.errors import Damaged, NoRecording, NotARecording, OtherVersion

#: "tuim": in the file's header, so that `file` and we know it from other databases.
APPLICATION_ID = 0x7475696D
#: In `PRAGMA user_version`. Raised only when an older reader would misread; added columns do not count.
VERSION = 1

#: How long to wait for another process that reads or writes the file, seconds.
BUSY_S = 5.0

_MAGIC = b"SQLite format 3\0"

SCHEMA = """
CREATE TABLE runs (          -- one training, as it introduced itself last
  run INTEGER PRIMARY KEY,
  pid INTEGER, name TEXT, host TEXT, user TEXT,
  command TEXT,              -- JSON list of words
  started_s REAL,            -- Unix time at which the agent began, seconds
  parameters INTEGER, trainable_parameters INTEGER,
  devices TEXT, dtypes TEXT, optimizers TEXT,     -- JSON lists
  probes TEXT,               -- JSON: what can be seen ("on"), or why not, by probe
  python TEXT, torch TEXT, tuimon TEXT, rank INTEGER, world_size INTEGER,
  ended_s REAL,              -- Unix time; NULL: it still runs, or whoever recorded it was killed
  end_reason TEXT
);
CREATE TABLE frames (        -- everything that was recorded, in order; what is replayed
  run INTEGER, seq INTEGER,
  kind TEXT,                 -- hello, layout, sample, evaluation, trial, log, notice, bye
  frame BLOB,                -- zlib of one payload of the wire (tuimon.wire.codec.decode reads it)
  PRIMARY KEY (run, seq)
);
CREATE TABLE samples (       -- one observed step; its tensors are in the frame of the same number
  run INTEGER, seq INTEGER,
  step INTEGER, time_s REAL, loss REAL,
  lr REAL,                   -- of the first parameter group
  grad_norm REAL, grad_norm_preclip REAL,
  step_s REAL, data_s REAL, forward_s REAL, backward_s REAL, optimizer_s REAL,
  overhead_ratio REAL, every INTEGER, microbatches INTEGER, rss_bytes INTEGER, cuda_bytes INTEGER,
  loss_scale REAL, skipped INTEGER,
  not_a_number TEXT,         -- JSON list of the columns that were NaN, which SQLite knows as NULL only
  PRIMARY KEY (run, seq)
);
CREATE INDEX samples_by_step ON samples (run, step);
CREATE TABLE evaluations (   -- validation passes that were seen; labels and predictions are in the frame
  run INTEGER, seq INTEGER, step INTEGER, time_s REAL,
  criterion TEXT,            -- loss function: "cross_entropy", "mse_loss", "mse_loss.1", ...
  loss REAL,                 -- mean over all elements of the pass
  accuracy REAL, n INTEGER, batches INTEGER, PRIMARY KEY (run, seq, criterion)
);
CREATE TABLE logs (          -- scalars that the training reported with tuimon.log
  run INTEGER, seq INTEGER, step INTEGER, time_s REAL, name TEXT, value REAL, PRIMARY KEY (run, seq, name)
);
CREATE TABLE notices (
  run INTEGER, seq INTEGER, step INTEGER, time_s REAL, text TEXT, PRIMARY KEY (run, seq)
);
CREATE TABLE alerts (        -- what fired, and was resolved, while it was recorded
  run INTEGER, seq INTEGER, rule TEXT,
  state TEXT,                -- firing or resolved
  severity TEXT,             -- info, warning or critical
  step INTEGER, since_step INTEGER,
  place TEXT,                -- JSON list: parameters or layers, first culprit first
  summary TEXT, advice TEXT,
  evidence TEXT,             -- JSON object
  consequences TEXT          -- JSON list of rules
);
CREATE TABLE layers (        -- in order of execution
  run INTEGER, layout INTEGER, layer INTEGER, name TEXT, PRIMARY KEY (run, layout, layer)
);
CREATE TABLE tensors (       -- what a row of a sample's table refers to
  run INTEGER, layout INTEGER, tensor INTEGER, name TEXT, kind TEXT, layer INTEGER, dtype TEXT, shape TEXT,
  PRIMARY KEY (run, layout, tensor)
);
"""


def create(connection: sqlite3.Connection) -> None:
    """Make the tables in an empty database, in one transaction."""
    connection.execute("PRAGMA page_size = 8192")
    pragmas = f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION};"
    connection.executescript(f"BEGIN IMMEDIATE; {SCHEMA} {pragmas} COMMIT;")


def check(path: Path) -> None:
    """Pass if the file is a recording that this version reads. Opens it without SQLite, and changes nothing.

    Raises:
        RecordingError: it is not, and why; told apart by what to do.
        OSError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            header, size_bytes = file.read(100), os.fstat(file.fileno()).st_size
    except FileNotFoundError:
        raise NoRecording(path) from None
    if not header:
        raise NotARecording(path, "is empty")
    if not header.startswith(_MAGIC):
        raise NotARecording(path, "is no recording")
    if len(header) < 100:
        raise Damaged(path, "cut off")
    if int.from_bytes(header[68:72], "big") != APPLICATION_ID:
        raise NotARecording(path, "is a database of another program")
    if (version := int.from_bytes(header[60:64], "big")) > VERSION:
        raise OtherVersion(path, version, VERSION)
    page_bytes = int.from_bytes(header[16:18], "big")
    expected_bytes = (65536 if page_bytes == 1 else page_bytes) * int.from_bytes(header[28:32], "big")
    # While it is written to, or was not closed, the journal knows better.
    if size_bytes < expected_bytes and not path.with_name(f"{path.name}-journal").exists():
        raise Damaged(path, f"cut off, {size_bytes} of {expected_bytes} bytes are left")
