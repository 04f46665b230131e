"""Observed steps of compiled models, run uncompiled so that their layers show: only where asked for.

`torch.compiler.set_stance` switches compiled code off and on again without compiling anything anew. An
uncompiled step rounds differently, so a training that is watched so is not bit-identical.
"""

from __future__ import annotations

import sys
from typing import Any

import torch

#: What viewers are told beside the probes.
LABEL = "each observed step of compiled code runs uncompiled, so rounding differs: not bit-neutral"


class EagerSteps:
    """Switches compiled code off between `begin` and `end`."""

    def __init__(self) -> None:
        self._stance: Any = None

    @property
    def available(self) -> bool:
        """Whether this PyTorch can do that (from 2.6 on)."""
        return hasattr(torch.compiler, "set_stance")

    @property
    def active(self) -> bool:
        """Whether compiled code is switched off now."""
        return self._stance is not None

    def begin(self) -> None:
        """Switch it off, at a step boundary. Idempotent."""
        if self._stance is not None or not self.available:
            return
        try:
            self._stance = torch.compiler.set_stance("force_eager")
        except RuntimeError:
            return  # a step that is compiled itself: nothing can be switched in there

    def end(self) -> None:
        """Set the stance of before again, unless the training has set its own since. Idempotent."""
        stance, self._stance = self._stance, None
        dynamo = sys.modules.get("torch._dynamo.eval_frame")
        if stance is not None and getattr(dynamo, "_stance", None) is stance.stance:
            stance.__exit__(None, None, None)
