"""When a training that can be heard makes no step for much longer than it usually takes."""

from __future__ import annotations

from dataclasses import dataclass

#: Shorter than this it is nothing to speak of: validation passes and checkpoints take as long.
LEAST_S = 20.0
#: And shorter than so many times the usual.
TIMES = 10.0


@dataclass(frozen=True, slots=True)
class Silence:
    """How long nothing was observed, and how long it usually takes."""

    #: Since the newest record of the training, or since the connection was made if that was later; seconds.
    silent_s: float
    #: Usual time from one observed step to the next, seconds; None where none was observed, or not timed.
    usual_s: float | None
    #: Steps from one observed step to the next.
    every: int
    #: The newest observed step; None before the first.
    step: int | None

    def in_words(self) -> str:
        """Such as "no step for 40 s (usually 0.3 s)", and what that may be."""
        what = "no step" if self.every == 1 else "no observed step"
        if self.usual_s is not None:
            each = (
                f"usually {_time(self.usual_s)}"
                if self.every == 1
                else f"usually one in {_time(self.usual_s)}"
            )
            usual = f" ({each})"
        else:
            usual = "" if self.step is None else f" since step {self.step}"
        return (
            f"{what} for {_time(self.silent_s)}{usual}: it may wait for data or other ranks, validate, "
            "write a checkpoint, or hang"
        )


def silence(silent_s: float, step_s: float | None, every: int, step: int | None) -> Silence | None:
    """The silence that this is; None while it is none to speak of.

    Args:
        silent_s: how long nothing was observed, seconds.
        step_s: usual time of a step, seconds; None if unknown.
        every: steps from one observed step to the next.
        step: the newest observed step.
    """
    usual_s = None if step_s is None else step_s * every
    if silent_s < max(LEAST_S, TIMES * (usual_s or 0.0)):
        return None
    return Silence(silent_s, usual_s, every, step)


def _time(seconds: float) -> str:
    if seconds < 10.0:
        return f"{seconds:.2g} s"
    if seconds < 100.0:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60.0)
    return f"{minutes} min" if minutes < 100 else f"{minutes / 60.0:.1f} h"
