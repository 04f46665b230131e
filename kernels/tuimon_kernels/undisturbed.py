"""Torch operations of our own, as if the training had set no modes and no default device."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, TypeVar, cast

import torch

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    F = TypeVar("F", bound=Callable[..., Any])


def undisturbed(function: F) -> F:
    """Let a function's torch calls be seen by no mode.

    Torch-function modes (`torch.set_default_device` is one) and torch-dispatch modes (counters, fake tensors)
    would otherwise redirect or record them. Autocast leaves fp64, which is all that is computed in, alone;
    and of a graph nothing is seen behind `detach`.
    """

    @functools.wraps(function)
    def alone(*args: Any, **kwargs: Any) -> Any:
        with torch._C.DisableTorchFunction(), torch._C._DisableTorchDispatch():
            return function(*args, **kwargs)

    return cast("F", alone)
