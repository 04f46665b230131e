"""Hooks on the gradient that arrives at a tensor, at a fifth of what torch's own way to add them takes.

`Tensor.register_hook` and `Node.register_prehook` make a dictionary and a handle for each call (1.4 us on
CPython 3.11, more with cold caches), though nobody will remove the hook. Torch keeps the dictionary in the
node and looks it up through the tensor only while it registers. So one dictionary per module serves all
calls, and the tensor is as before: hooks of the user's own, added later, go into a dictionary of theirs.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch

from tuimon_kernels.undisturbed import undisturbed

#: Called with the gradient, None where no gradient came to this output but to others of its node.
GradientHook = Callable[[torch.Tensor | None], None]


def attach(tensor: torch.Tensor, hooks: dict[int, GradientHook]) -> None:
    """Have the one hook in `hooks` called with each gradient that arrives at an output of a node.

    The hook sees the gradient with respect to the tensor as it is now, whatever is written to it later.
    """
    node: Any = tensor.grad_fn
    # A subclass may see what is set; and one that has hooks (the user's, or a module's that passed its input
    # on) would lose them.
    if type(tensor) is torch.Tensor and tensor._backward_hooks is None and quick():
        tensor._backward_hooks = hooks  # type: ignore[assignment]
        node._register_hook_dict(tensor)
        tensor._backward_hooks = None
        return
    place, (hook,) = tensor.output_nr, hooks.values()

    def of_several(gradients: Any) -> None:
        hook(gradients[place])

    node.register_prehook(of_several)


@functools.cache
@undisturbed
def quick() -> bool:
    """Whether this torch registers hooks in that way: it is tried, on a graph of two nodes."""
    seen: list[float] = []
    try:
        with torch.inference_mode(False), torch.enable_grad():
            x = torch.ones((), dtype=torch.float64, device="cpu", requires_grad=True)
            y: Any = x * 2.0
            y._backward_hooks = {0: lambda gradient: seen.append(float(gradient))}
            y.grad_fn._register_hook_dict(y)
            y._backward_hooks = None
            run: Any = torch.autograd.Variable._execution_engine.run_backward
            (found,) = run((y * 3.0,), (x.detach(),), False, False, (x,), True, accumulate_grad=False)
            return seen == [3.0] and float(found) == 6.0 and y._backward_hooks is None
    except Exception:  # private names: whatever else they may do one day, this way is not taken then
        return False
