"""Runs programs that nobody attaches to, each in a fork of this process, which has torch loaded already.

Reads one JSON object a line, {"program": path, "steps": number}, and answers with one: the exit code, and
the lines that the program printed.
"""

import json
import os
import runpy
import sys
import tempfile
from pathlib import Path

from torch import distributed, nn, optim  # noqa: F401  what most programs need


def main() -> None:
    for line in sys.stdin:
        asked = json.loads(line)
        with tempfile.TemporaryFile("w+") as out:
            child = os.fork()
            if not child:
                _run(Path(asked["program"]), asked["steps"], out.fileno())
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            out.seek(0)
            print(json.dumps({"code": code, "lines": out.read().splitlines()}), flush=True)


def _run(program: Path, steps: int, out: int) -> None:
    """In the fork: be the program; never return."""
    os.dup2(out, 1)
    sys.argv = [str(program), str(steps)]
    sys.path[0] = str(program.parent)
    code = 1
    try:
        runpy.run_path(str(program), run_name="__main__")
        code = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
    finally:
        sys.stdout.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
