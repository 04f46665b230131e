"""What an implementation offers, whichever device it serves: the names that callers rely on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    import numpy.typing as npt
    import torch

    from tuimon_kernels.spec import Packed, Slot

    Rows = Sequence[int] | npt.NDArray[np.int64]


class SketchTable(Protocol):
    """Fixed memory for one sketch per slot.

    Not for two threads at once: one table, one thread at a time (two tables are independent).
    """

    slots: tuple[Slot, ...]

    def clear(self) -> None:
        """Empty all sketches; the channels keep the observation at which they were last active."""

    def accumulate(self, slots: Rows, tensors: Sequence[torch.Tensor], observation: int) -> None:
        """Add each tensor's elements to its slot's sketch; a slot may occur several times.

        The caller guarantees that each tensor has its slot's type and is dense memory of the table's device
        (`tuimon_kernels.dense`); nothing is checked per tensor. A tensor without memory (empty, or storage
        released) adds nothing. `observation` (>= 1) numbers the sampled steps: it chooses the blocks that
        enter the histogram and becomes the last-active mark of the channels seen active. Nothing is written
        to a tensor and no reference to one is kept.

        ValueError for an observation below 1 or unequal lengths, IndexError for a slot that does not exist;
        the table is then unchanged.
        """

    def silent(
        self, since: int, pairs: Sequence[tuple[int, int]] = ()
    ) -> npt.NDArray[np.int64]:
        """Count, per slot, the channels last active before observation `since`; 0 without channels.

        For a pair (a, b) of slots with as many channels, slot a counts only the channels that are silent in
        b as well (an output never positive, and no gradient arriving). ValueError for unlike channel counts.
        """

    def export(self, slots: Rows | None = None) -> Packed:
        """Copy the sketches of these slots (all: None), in this order; IndexError for an unknown one."""


class StridedSample(Protocol):
    """At most `limit` elements of each tensor, by constant stride, before and after a step."""

    def take(self, tensors: Sequence[torch.Tensor]) -> None:
        """Copy the samples. ValueError when a tensor's element count or type is not the constructor's."""

    def ratios(self, tensors: Sequence[torch.Tensor]) -> npt.NDArray[np.float64]:
        """Return ``||new - old|| / ||old||`` over each sample, float64 [k].

        With ``||old|| == 0``: inf when anything moved, 0.0 when nothing did. NaN where a sampled element is
        NaN or was infinite, and where the memory was released. RuntimeError before the first `take`;
        ValueError as there.
        """


@dataclass(frozen=True, slots=True)
class Warmth:
    """What `Backend.warm` did."""

    wall_s: float
    """How long it took."""
    compiled: bool
    """True when something was compiled, False when all came from a cache or was there already."""


@dataclass(frozen=True, slots=True)
class Backend:
    """One implementation for one kind of device."""

    name: str
    """`numba` or `torch`."""
    SketchTable: Callable[[Sequence[Slot]], SketchTable]
    """Make a table: ``SketchTable(slots)``."""
    sum_squares: Callable[[Sequence[torch.Tensor]], npt.NDArray[np.float64]]
    """Sum of squares per tensor in one call, float64 [k]; NaN and Inf propagate. The caller guarantees the
    same as for `SketchTable.accumulate`; ValueError for a type that cannot be sketched."""
    StridedSample: Callable[..., StridedSample]
    """Make a sampler: ``StridedSample(tensors, limit=4096)``."""
    warm: Callable[[], Warmth]
    """Load or compile everything, so that no later call does."""
