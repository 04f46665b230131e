"""Torch operations of our own, as if the training had set nothing: no modes, no default device, no graph."""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING, TypeVar, cast

import torch

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    F = TypeVar("F", bound=Callable[..., Any])


def undisturbed(function: F) -> F:
    """Let a function's torch calls be seen by no mode and recorded by nothing.

    Torch-function modes (`torch.set_default_device` is one) and torch-dispatch modes (counters, fake tensors)
    would otherwise redirect or record them; in inference mode, tensors that are kept could not be written to
    later. Autocast leaves fp64, which is all that is computed in, alone.
    """

    @functools.wraps(function)
    def alone(*args: Any, **kwargs: Any) -> Any:
        with contextlib.ExitStack() as stack:
            stack.enter_context(torch._C.DisableTorchFunction())
            stack.enter_context(torch._C._DisableTorchDispatch())
            stack.enter_context(torch.inference_mode(False))
            stack.enter_context(torch.no_grad())
            return function(*args, **kwargs)

    return cast("F", alone)
