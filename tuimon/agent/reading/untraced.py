"""What `torch.compile` shall call as it is, and neither look into nor compile.

Hooks of an optimizer, and what stands around the engine of autograd, are called from within compiled
functions too, where people compile a whole step or the optimizer's. Traced, ours would be compiled along: for
long, with many a line in the training's output, and to something that measures nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

import torch

F = TypeVar("F", bound=Callable[..., Any])

_frames: Any = getattr(torch._C, "_dynamo", None)
#: Private, there from PyTorch 2.4 to 2.13 at least; without it hooks are traced as any code is.
_set_callback = getattr(getattr(_frames, "eval_frame", None), "set_eval_frame", None)
#: What was made, and what of it the compiler knows; all share one piece of code.
_code: set[Any] = set()
_sealed: set[Any] = set()


def untraced(act: F) -> F:
    """`act`, called with the compiler off; costs a tenth of a microsecond."""
    if _set_callback is None:
        return act

    def call(*args: Any, **kwargs: Any) -> Any:
        before = _set_callback(None)
        try:
            return act(*args, **kwargs)
        finally:
            _set_callback(before)

    return passed_over(call)  # type: ignore[return-value]


def passed_over(act: F) -> F:
    """`act` itself, not traced, though what it calls may be."""
    # Refused where a compiled function would trace the call; where it is called, see `seal`.
    act._torchdynamo_disable = True  # type: ignore[attr-defined]
    _code.add(act.__code__)
    return act


def seal() -> None:
    """Have the compiler pass over what was made here, once it is loaded. Cheap; to be called now and then."""
    skip = getattr(sys.modules.get("torch._dynamo.eval_frame"), "skip_code", None)
    if skip is not None and not _code <= _sealed:
        for code in _code - _sealed:
            skip(code)
        _sealed.update(_code)
