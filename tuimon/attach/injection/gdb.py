"""Two tiny calls in a stopped process, made by gdb: a page of memory, and one line queued for Python.

Measured on CPython 3.10 to 3.13: nothing else was as safe. No lock, allocator, loader or GIL is needed for
either call; Python runs the line later, between two instructions of the main thread.
"""

from __future__ import annotations

import os
import re
import subprocess
from contextlib import suppress
from dataclasses import dataclass

from tuimon.attach.injection.elf import Function
from tuimon.attach.injection.entry_errors import (
    RUN,
    DebuggerFailed,
    DebuggerStuck,
    DiedEntering,
    NoDebugger,
    NoRight,
)
from tuimon.attach.injection.preflight import MAP, QUEUE, RUN_LINE, Interpreter, debugger

#: After this long the person is told; gdb is never killed, since a process whose debugger dies during a
#: call dies with it (measured, 3 of 3).
PATIENCE_S = 10.0

#: Attempts when the main thread is just inside of the queue's own lock.
_ATTEMPTS = 5

_OPTIONS = (
    "set auto-load off",
    "set debuginfod enabled off",
    "set auto-solib-add off",
    # Else gdb opens some 400 libraries while the process waits: 120 ms instead of 25 (MLP, Xeon, 2 cores).
    "set sysroot /nonexistent",
    "set libthread-db-search-path /nonexistent",
)

#: The training's own signals must reach it while it is held, and must not end the calls.
_SIGNALS = "SIGINT SIGHUP SIGQUIT SIGTERM SIGUSR1 SIGUSR2 SIGPIPE SIGALRM SIGCHLD SIGCONT SIGIO SIGPROF"

_DONE, _INSIDE, _NO_PAGE = "tuimon: queued", "tuimon: inside", "tuimon: no page"


def queue_line(pid: int, interpreter: Interpreter, line: str, patience_s: float = PATIENCE_S) -> None:
    """Have the process's main thread run `line` (ASCII) as soon as it runs Python code.

    Raises:
        AttachError: `NoDebugger`, `DebuggerFailed`, `DebuggerStuck`, `DiedEntering` or `NoRight`.
    """
    said = ""
    for _ in range(_ATTEMPTS):
        said = _run(pid, script(interpreter, line), patience_s)
        if _DONE in said:
            return
        if _INSIDE not in said:
            raise _failure(pid, said)
    raise DebuggerFailed(pid, "its main thread was inside of Python's queue each time")


def script(interpreter: Interpreter, line: str) -> str:
    """The commands for gdb."""
    calls = interpreter.calls
    text = line.encode("ascii")
    size = len(text) + 1
    inside = " || ".join(f"({_within(function)})" for function in interpreter.avoid) or "0"
    return f"""set confirm off
set width 0
set unwindonsignal on
handle {_SIGNALS} nostop noprint pass
if {inside}
  printf "{_INSIDE}\\n"
else
  set $page = ((unsigned long(*)(void*,unsigned long,int,int,int,long)){calls[MAP].start:#x})\
(0,{(size + 4095) // 4096 * 4096},3,0x22,-1,0)
  if $page > 0xfffffffffffff000
    printf "{_NO_PAGE}\\n"
  else
    set {{char[{size}]}}$page = "{_quoted(text)}"
    if ((int(*)(void*,unsigned long)){calls[QUEUE].start:#x})((void*){calls[RUN_LINE].start:#x},$page) == 0
      printf "{_DONE}\\n"
    end
  end
end
"""


def _within(function: Function) -> str:
    return f"$pc >= {function.start:#x} && $pc < {function.end:#x}"


def _quoted(text: bytes) -> str:
    # All that is not plain goes by number, so that nothing in it means anything to gdb.
    return "".join(chr(c) if chr(c).isalnum() or c in b" _=:()[]{}.,/" else f"\\{c:03o}" for c in text)


def _run(pid: int, commands: str, patience_s: float) -> str:
    program = debugger()
    if program is None:
        raise NoDebugger(pid)
    with _Files(commands) as files:
        options = [part for option in _OPTIONS for part in ("-iex", option)]
        command = [program, "-batch", "-nx", "-nw", *options, "-p", str(pid), "-x", files.script]
        # A session of its own: Ctrl-C in this terminal must not reach it. Files, not pipes: it must not
        # end because this process does.
        running = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=files.output,
            stderr=subprocess.STDOUT,
            pass_fds=(files.commands,),
            env={name: value for name, value in os.environ.items() if not name.startswith("PYTHON")},
            start_new_session=True,
        )
        try:
            running.wait(patience_s)
        except subprocess.TimeoutExpired:
            running.returncode = 0  # left alone: nobody waits for it, and nobody warns about that
            raise DebuggerStuck(pid, running.pid, patience_s) from None
        except BaseException:  # Ctrl-C here: it is done in a moment, and then all is in order
            _wait_quietly(running, patience_s)
            raise
        return files.said()


@dataclass
class _Files:
    """The commands for gdb, and what it says, in memory: a full disk is no obstacle."""

    text: str

    def __enter__(self) -> _Files:
        self.commands = os.memfd_create("tuimon-gdb")
        self.output = os.memfd_create("tuimon-gdb-says")
        os.pwrite(self.commands, self.text.encode(), 0)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.commands)
        os.close(self.output)

    @property
    def script(self) -> str:
        return f"/proc/self/fd/{self.commands}"

    def said(self) -> str:
        return os.pread(self.output, 100_000, 0).decode(errors="replace")


def _wait_quietly(running: subprocess.Popen[bytes], patience_s: float) -> None:
    with suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
        running.wait(patience_s)
    running.returncode = running.returncode or 0


def _failure(pid: int, said: str) -> Exception:
    if re.search(r"ptrace: (No such process|Input/output error)|No such process|exited", said):
        return DiedEntering(pid)
    if re.search(r"ptrace: Operation not permitted|Could not attach to process", said):
        remedy = f"run tuimon as root, in a container with --cap-add=SYS_PTRACE, or {RUN}"
        return NoRight(pid, "the kernel refuses gdb here", remedy)
    if _NO_PAGE in said:
        return DebuggerFailed(pid, "the process has no memory left, not even 4 kB")
    lines = [line for line in said.splitlines() if line.strip() and not line.startswith("warning:")]
    return DebuggerFailed(pid, lines[-1][:200] if lines else "it said nothing")
