"""The hooks that people write by hand: the peer that yields what tuimon yields.

Forward hooks with a histogram and a zero fraction per leaf module; norm and histogram per gradient, and the
update ratio per parameter, around the optimizer's step. Each number is fetched with `.item()` or `.tolist()`,
as in the scripts that one finds.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

_BINS = 64
#: Steps kept, as a plot of the recent past would.
_KEPT = 100


class HandwrittenHooks:
    """Watches every step of one model and one optimizer."""

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self._parameters = dict(model.named_parameters())
        self._before: dict[str, Tensor] = {}
        self._step: dict[str, Any] = {}
        #: One dictionary a step: "<name>.<statistic>" to number or list.
        self.steps: deque[dict[str, Any]] = deque(maxlen=_KEPT)
        leaves = [(name, module) for name, module in model.named_modules() if not any(module.children())]
        self._handles = [
            *(module.register_forward_hook(self._activation(name)) for name, module in leaves),
            optimizer.register_step_pre_hook(self._before_step),
            optimizer.register_step_post_hook(self._after_step),
        ]

    def close(self) -> None:
        """Remove the hooks."""
        for handle in self._handles:
            handle.remove()

    def _activation(self, name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        def hook(module: nn.Module, args: Any, output: Tensor) -> None:
            values = output.detach()
            self._step[f"{name}.activation"] = torch.histc(values, _BINS).tolist()
            self._step[f"{name}.zero_ratio"] = (values == 0).float().mean().item()

        return hook

    def _before_step(self, *_: object) -> None:
        for name, parameter in self._parameters.items():
            if parameter.grad is not None:
                self._step[f"{name}.grad_norm"] = parameter.grad.norm().item()
                self._step[f"{name}.gradient"] = torch.histc(parameter.grad, _BINS).tolist()
            self._before[name] = parameter.detach().clone()

    def _after_step(self, *_: object) -> None:
        for name, parameter in self._parameters.items():
            old = self._before[name]
            change = (parameter.detach() - old).norm() / old.norm()
            self._step[f"{name}.update_ratio"] = change.item()
        self.steps.append(self._step)
        self._step = {}
