"""Gradients as backward left them, for trainings whose step nothing of ours can stand behind.

A hand-written optimizer takes its gradients away when it is done (`p.grad = None`, `p.grad.zero_()`), and
what `torch.autograd.grad` returned is the training's own. So they are read when backward ends; a later
backward of the same step (gradient accumulation) takes the place of what was read before.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import torch

from tuimon.agent.reading.norms import joint_norm
from tuimon.agent.reading.parameters import readable
from tuimon_kernels import Backend, ReadOut, Slot

if TYPE_CHECKING:
    from tuimon_kernels.backend import SketchTable


class BackwardGradients:
    """Sketches of one step's gradients. Positions are those of the inventory."""

    def __init__(self, rows: Sequence[int | None], slots: Sequence[Slot], backend: Backend) -> None:
        self._backend = backend
        #: Rows in the sample by position, and of those that a kernel reads the place in our own table.
        self._rows = rows
        read = [i for i, row in enumerate(rows) if row is not None]
        self._places = {i: place for place, i in enumerate(read)}
        self._slots = [slots[row] for row in rows if row is not None]
        self._table: SketchTable | None = None
        self._marks: dict[int, tuple[torch.Tensor, int]] = {}
        self._observation = 0
        #: Whether what the step applied is known to be what is read here.
        self._known = True
        self._before_clip: float | None = None

    def begin(self) -> None:
        """Start a step."""
        if self._table is not None:
            self._table.clear()
        self._marks, self._known, self._before_clip = {}, True, None

    def read(self, gradients: Mapping[int, torch.Tensor], returned: bool) -> None:
        """Read what a backward left (or `torch.autograd.grad` returned), by position."""
        fitting = {i: g for i, g in gradients.items() if i in self._places and g.is_cpu}
        if any(i in self._marks for i in fitting):
            # What `grad` returned before was added up elsewhere, or was no part of the step.
            self._known = self._known and not returned
        self._marks |= {i: (g, g._version) for i, g in fitting.items()}
        self._sketch()

    def _sketch(self) -> None:
        if self._table is None:
            self._table = self._backend.SketchTable(self._slots)
        self._table.clear()
        self._observation += 1
        places = [self._places[i] for i in self._marks]
        self._table.accumulate(places, [readable(g) for g, _ in self._marks.values()], self._observation)

    def settle(self, moved: Iterable[int]) -> None:
        """The step that moved these is over: see whether something (clipping) wrote to their gradients.

        Gradients of others were left by the way, as those that a generator's loss leaves in the critic.
        """
        marks = self._marks = {i: self._marks[i] for i in moved if i in self._marks}
        changed = [g for g, version in marks.values() if g._version != version]
        if not changed:
            return
        self._before_clip = self._norm()
        if any(self._backend.sum_squares([readable(g) for g in changed])):
            self._sketch()
        elif max(g._version - version for g, version in marks.values()) > 1:
            # Set to zero, and before that something else: what was applied is gone.
            self._known = False

    def forget(self) -> None:
        """Keep no gradient beyond the step."""
        self._marks = {}

    @property
    def known(self) -> bool:
        """Whether the rows hold what the step applied."""
        return self._known

    def norm_before_clip(self, applied: float | None, loss_scale: float | None) -> float | None:
        """Their norm when backward ended; the one applied where nothing wrote to them after it."""
        return applied if self._before_clip is None else self._before_clip / (loss_scale or 1.0)

    def _norm(self) -> float:
        assert self._table is not None
        packed = self._table.export([self._places[i] for i in self._marks])
        return joint_norm([(packed, 0, len(self._marks))])

    def read_out(self) -> list[ReadOut]:
        """Their rows, ascending, if there are any."""
        found = sorted((self._rows[i] or 0, self._places[i]) for i in self._marks)
        if not found or self._table is None:
            return []
        k = len(found)
        packed = self._table.export([place for _, place in found])
        return [
            ReadOut(
                array("i", [row for row, _ in found]), packed, array("d", bytes(24 * k)), array("B", bytes(k))
            )
        ]
