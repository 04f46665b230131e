"""Runs first in every Python that `tuimon run` starts, by way of PYTHONPATH.

It must parse in any Python whatever, of which a training's shell scripts may start several; the rest
is for those in which an agent can live. A sitecustomize of the user's own, which this one hides, runs
after it as if it were alone.
"""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))


def wait_for_a_training():
    # type: () -> None
    """Have the agent start with the first step of a training in this process, if there is one."""
    if sys.version_info < (3, 10):  # noqa: UP036
        return
    try:
        import _tuimon_run  # type: ignore[import-not-found]
    except Exception:  # unreadable to this user: nothing of ours may stop what was started
        return
    _tuimon_run.begin()


def run_hidden():
    # type: () -> None
    """Take what is ours off the path, and import the sitecustomize that is then found, if there is one."""
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry) != HERE]
    ours = sys.modules.pop("sitecustomize")
    try:
        import sitecustomize  # type: ignore[import-not-found]  # noqa: F401
    except ImportError as error:
        if getattr(error, "name", None) != "sitecustomize":
            raise
        sys.modules["sitecustomize"] = ours


wait_for_a_training()
run_hidden()
