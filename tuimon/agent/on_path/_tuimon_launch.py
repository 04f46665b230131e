"""Runs a script, a module or a string as the interpreter would, after what `tuimon run` has to arm.

For `python -I`, `-E` and `-S`, which do not look at PYTHONPATH or import no sitecustomize:
``python -I _tuimon_launch.py WHAT NAME ARGUMENTS...``, with WHAT one of "script", "-m" and "-c".
"""

from __future__ import annotations

import os
import sys


def arm(what: str, name: str) -> None:
    """Have the agent start with the first step, and leave `sys.path` as the interpreter makes it."""
    here = os.path.dirname(os.path.abspath(__file__))
    safe = sys.flags.isolated or getattr(sys.flags, "safe_path", False)
    if safe:
        sys.path.insert(0, here)
    import _tuimon_run  # type: ignore[import-not-found]

    _tuimon_run.begin()
    if safe:
        del sys.path[0]
    else:
        first = {"-c": "", "-m": os.getcwd()}
        sys.path[0] = first[what] if what in first else os.path.dirname(os.path.realpath(name))
    # With -S it stands in PYTHONPATH, and there is no sitecustomize that takes it away.
    sys.path[:] = [entry for entry in sys.path if entry != here]


def become(what: str, name: str) -> None:
    """Run it in the one and only `__main__`, from which everything of ours goes first."""
    import os
    import runpy
    from io import open_code

    namespace = sys.modules["__main__"].__dict__
    for ours in [key for key in namespace if not key.startswith("__")]:
        del namespace[ours]
    namespace.update(__doc__=None, __annotations__={})
    if what == "-m":
        # What `python -m` itself calls: unlike `run_module` it runs in `__main__`, as the training expects.
        runpy._run_module_as_main(name)  # type: ignore[attr-defined]
    elif what == "-c":
        del namespace["__file__"], namespace["__cached__"]
        exec(compile(name, "<string>", "exec", dont_inherit=True), namespace)
    elif os.path.isdir(name) or name.endswith((".zip", ".pyz")):
        runpy.run_path(name, run_name="__main__")
    else:
        namespace["__file__"] = name
        with open_code(os.path.abspath(name)) as script:
            code = compile(script.read(), name, "exec", dont_inherit=True)
        exec(code, namespace)


what, name, *arguments = sys.argv[1:]
arm(what, name)
sys.argv[:] = [name if what == "script" else what, *arguments]
become(what, name)
