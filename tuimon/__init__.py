"""tuimon: a terminal monitor for running PyTorch trainings.

In a training script::

    import tuimon
    monitor = tuimon.watch(model, optimizer)

then, in a second terminal, ``tuimon attach PID``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tuimon.version import __version__

if TYPE_CHECKING:
    from tuimon.agent.watch import Monitor, log, watch

__all__ = ["Monitor", "__version__", "log", "watch"]


def __getattr__(name: str) -> object:
    # Lazy, so that the viewer's `import tuimon` never reaches torch (promise P5).
    if name in ("Monitor", "log", "watch"):
        from tuimon.agent import watch as training_side

        return getattr(training_side, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
