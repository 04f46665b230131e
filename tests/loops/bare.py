"""Runs programs that nobody attaches to, each in a fork of this process, which has torch loaded already.

Reads one JSON object a line, {"program": path, "steps": number, "ranks": processes that train together}, and
answers with one: the exit codes, and the lines that each printed.
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
        with tempfile.TemporaryDirectory() as directory:
            outs = [Path(directory, f"out-{rank}") for rank in range(asked["ranks"])]
            children = []
            for rank, out in enumerate(outs):
                child = os.fork()
                if not child:
                    os.environ.update(
                        RANK=str(rank),
                        WORLD_SIZE=str(len(outs)),
                        RENDEZVOUS=str(Path(directory, "rendezvous")),
                        GLOO_SOCKET_IFNAME="lo",
                    )
                    _run(Path(asked["program"]), asked["steps"], out)
                children.append(child)
            codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
            lines = [out.read_text().splitlines() for out in outs]
        print(json.dumps({"codes": codes, "lines": lines}), flush=True)


def _run(program: Path, steps: int, out: Path) -> None:
    """In the fork: be the program; never return."""
    os.dup2(os.open(out, os.O_WRONLY | os.O_CREAT), 1)
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
