"""Addresses of functions in running processes, compared with what the processes say themselves."""

from __future__ import annotations

import ctypes
import io
import os
import subprocess
from pathlib import Path

import pytest
from plain_targets import pythons

from tuimon.attach.injection import elf
from tuimon.attach.injection.elf import WrongFile, functions
from tuimon.attach.process import process_facts

NAMES = ("Py_AddPendingCall", "PyRun_SimpleString", "PyThread_acquire_lock")
TELL = f"""
import ctypes, sys
address = lambda function: ctypes.cast(function, ctypes.c_void_p).value
for name in {NAMES!r}:
    print(address(getattr(ctypes.pythonapi, name)))
print(address(ctypes.CDLL(None).mmap), flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("name", pythons())
def test_they_are_where_the_process_has_them(name: str) -> None:
    process = subprocess.Popen(
        [pythons()[name], "-S", "-c", TELL], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        told = [int(process.stdout.readline()) for _ in range(len(NAMES) + 1)]
        found = functions(process_facts(process.pid), (*NAMES, "mmap"))
    finally:
        process.communicate()
    assert [found[name].start for name in NAMES] == told[:-1]
    assert found["mmap"].start == told[-1]
    assert all(function.end > function.start for function in found.values())


def test_what_is_not_there_is_left_out() -> None:
    assert "Py_NoSuchThing" not in functions(process_facts(os.getpid()), ("Py_NoSuchThing", "mmap"))


def test_a_file_that_is_not_what_runs_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Other(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return bytes(size or 0)

    monkeypatch.setattr(elf, "open_memory", lambda *_: Other())
    with pytest.raises(WrongFile, match=r"is not what runs in the process"):
        functions(process_facts(os.getpid()), ("Py_AddPendingCall",))


def test_a_process_that_has_ended() -> None:
    facts = process_facts(os.getpid())
    with pytest.raises(ProcessLookupError):
        functions(facts, NAMES, Path("/proc/self/fd"))


def test_where_a_deleted_library_is_found_only_what_is_mapped_counts(tmp_path: Path) -> None:
    """A path that was deleted may name another file by now."""
    mapped = elf._Mapped(str(tmp_path / "libpython3.so"), 0, 4096, 0, deleted=True)
    (tmp_path / "libpython3.so").write_bytes(b"another file")
    assert elf._open(process_facts(os.getpid()), mapped, Path("/proc")) is None
    assert ctypes.sizeof(ctypes.c_void_p) == 8
