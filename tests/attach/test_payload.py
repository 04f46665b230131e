"""The line that runs in a training's main thread: whatever happens, it raises nothing and leaves nothing."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tuimon.attach.injection.payload import line

#: As the queue does it: PyRun_SimpleString, which prints an exception and returns -1.
RUN = """
import ctypes, sys, threading, time
{before}
before = list(globals())
code = ctypes.pythonapi.PyRun_SimpleString(sys.argv[1].encode("ascii"))
new = [name for name in globals() if name not in (*before, "before", "code")]
sys.stdout.write(f"{{code}} {{new}}\\n")
sys.stdout.flush()
"""


def run(text: str, before: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-S", "-c", RUN.format(before=before), text]
    return subprocess.run(command, capture_output=True, text=True, check=True)


@pytest.mark.parametrize(
    "before",
    [
        "",
        "exec = None",
        "print = __import__ = None",
        "del sys.modules['builtins']; import _thread",
        "import _thread; _thread.start_new_thread = None",
        "import threading; threading.Thread = None",
        "import zipimport; zipimport.zipimporter = None",
        "BaseException = Exception = None",
    ],
)
def test_it_raises_nothing_and_binds_nothing(before: str, tmp_path: Path) -> None:
    done = run(line(str(tmp_path / "gone"), str(tmp_path / "gone.zip")), before)
    assert (done.stdout, done.stderr) == ("0 []\n", "")


def test_a_thread_that_cannot_be_started_is_nobodys_trouble(tmp_path: Path) -> None:
    full = "import _thread\ndef full(*_): raise RuntimeError('can\\'t start new thread')\n"
    done = run(line(str(tmp_path), "x"), full + "_thread.start_new_thread = full")
    assert (done.stdout, done.stderr) == ("0 []\n", "")


def test_it_calls_the_bootstrap_of_the_archive(tmp_path: Path) -> None:
    folder = tmp_path / 'a "quoted" \\ földer'
    folder.mkdir()
    with zipfile.ZipFile(folder / "x.zip", "w") as file:
        file.writestr("tuimon/agent/bootstrap.py", "def inject(folder): print('in', folder, flush=True)")
    text = line(str(folder), str(folder / "x.zip"))
    assert text.isascii()
    program = "import sys\nexec(sys.argv[1])\nsys.stdin.read()"
    process = subprocess.Popen(
        [sys.executable, "-S", "-c", program, text], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == f"in {folder}\n"
    assert process.communicate() == ("", None)
