"""Where the functions of a running process lie, read from its files: nothing is stopped for it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from tuimon.attach.process import PROC, ProcessFacts, maps_text

#: Libraries beside the program itself that may hold what is looked for.
_LIBRARIES = ("libpython", "libc.so", "libc-2", "libc.musl", "ld-musl", "libpthread")

#: Bytes of each function that must be the same in the file and in the process.
_COMPARED = 16

_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Function:
    """One function of a process: its first address, and the one after its last; both the process's own."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class _Mapped:
    """The first part of a file that is mapped."""

    path: str
    start: int
    end: int
    offset: int
    deleted: bool


class WrongFile(Exception):
    """The file that was found is not what runs in the process."""


def functions(facts: ProcessFacts, names: Sequence[str], proc: Path = PROC) -> dict[str, Function]:
    """Those of the named functions that the program, its libpython or its libc has.

    Each is compared with the bytes in the process's memory, which also shows that one may look into it.

    Raises:
        PermissionError: one may not look into the process's memory.
        ProcessLookupError: the process has ended.
        WrongFile: a file was replaced since the process started, so its addresses would be wrong.
    """
    found: dict[str, Function] = {}
    with open_memory(facts, proc) as memory:
        for mapped in _candidates(facts, proc):
            with suppress(ELFError), ExitStack() as stack:
                file = _open(facts, mapped, proc)
                if file is not None:
                    elf = ELFFile(stack.enter_context(file))
                    wanted = [name for name in names if name not in found]
                    found |= _found(elf, mapped, wanted, memory)
    return found


def open_memory(facts: ProcessFacts, proc: Path = PROC) -> IO[bytes]:
    """The process's memory, to read from: the kernel asks for the same right as for a debugger.

    Raises:
        PermissionError: this process has no such right.
        ProcessLookupError: the process has ended.
    """
    try:
        return open(proc / str(facts.pid) / "mem", "rb", buffering=0)
    except FileNotFoundError:
        raise ProcessLookupError(f"no process {facts.pid}") from None


def _candidates(facts: ProcessFacts, proc: Path) -> list[_Mapped]:
    program = ""
    with suppress(OSError):
        program = os.readlink(proc / str(facts.pid) / "exe").removesuffix(" (deleted)")
    first: dict[str, _Mapped] = {}
    for line in maps_text(facts, proc).splitlines():
        parts = line.split(maxsplit=5)
        if len(parts) == 6 and parts[5].startswith("/"):
            path = parts[5].removesuffix(" (deleted)")
            start, end = (int(address, 16) for address in parts[0].split("-"))
            first.setdefault(path, _Mapped(path, start, end, int(parts[2], 16), path != parts[5]))
    named = [m for m in first.values() if os.path.basename(m.path).startswith(_LIBRARIES)]
    # The program first: it holds Python's functions itself, or a libpython does, never both.
    return [*([first[program]] if program in first else []), *(m for m in named if m.path != program)]


def _open(facts: ProcessFacts, mapped: _Mapped, proc: Path) -> IO[bytes] | None:
    folder = proc / str(facts.pid)
    here = folder / "root" / mapped.path.lstrip("/")
    # What is mapped itself, which is there even after the file was deleted or replaced; for root only.
    places = [folder / "map_files" / f"{mapped.start:x}-{mapped.end:x}"]
    with suppress(OSError):
        if os.readlink(folder / "exe").removesuffix(" (deleted)") == mapped.path:
            places.append(folder / "exe")
    if not mapped.deleted:
        # The kernel shows paths after a plain chroot as they are outside of it.
        places += [here, Path(mapped.path)]
    for place in places:
        with suppress(OSError):
            return place.open("rb")
    return None


def _found(elf: ELFFile, mapped: _Mapped, names: Sequence[str], memory: IO[bytes]) -> dict[str, Function]:
    moved = mapped.start - _preferred(elf, mapped.offset) if elf.header["e_type"] == "ET_DYN" else 0
    found = {}
    for name, value, size in _symbols(elf, names):
        _compare(elf, value, value + moved, memory, f"{name} in {mapped.path}")
        found[name] = Function(value + moved, value + moved + size)
    return found


def _preferred(elf: ELFFile, offset: int) -> int:
    """The address that the file gives to what lies at `offset` in it, a page's beginning."""
    for segment in elf.iter_segments("PT_LOAD"):
        if segment["p_offset"] // _PAGE * _PAGE <= offset <= segment["p_offset"] + segment["p_filesz"]:
            return int(segment["p_vaddr"] - segment["p_offset"] + offset)
    return 0


def _symbols(elf: ELFFile, names: Sequence[str]) -> list[tuple[str, int, int]]:
    # The full table is there in programs that export nothing, unless they were stripped.
    for table in (".dynsym", ".symtab"):
        section = elf.get_section_by_name(table)
        if isinstance(section, SymbolTableSection) and (found := list(_functions_in(section, names))):
            return found
    return []


def _functions_in(section: SymbolTableSection, names: Sequence[str]) -> Iterator[tuple[str, int, int]]:
    for name in names:
        for symbol in section.get_symbol_by_name(name) or []:
            if symbol["st_shndx"] != "SHN_UNDEF" and symbol["st_info"]["type"] == "STT_FUNC":
                yield name, int(symbol["st_value"]), int(symbol["st_size"])
                break


def _compare(elf: ELFFile, value: int, address: int, memory: IO[bytes], what: str) -> None:
    offset = next(iter(elf.address_offsets(value, _COMPARED)), None)
    if offset is None:
        raise WrongFile(f"{what} has no code")
    elf.stream.seek(offset)
    expected = elf.stream.read(_COMPARED)
    try:
        memory.seek(address)
        actual = memory.read(_COMPARED)
    except (OSError, ValueError):
        actual = b""
    if actual != expected:
        raise WrongFile(f"{what} is not what runs in the process")
