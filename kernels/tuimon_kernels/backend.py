"""What an implementation offers, whichever device it serves: the names that callers rely on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from array import array
    from collections.abc import Callable, Sequence

    import torch

    from tuimon_kernels.spec import Packed, ReadOut, Slot


class SketchTable(Protocol):
    """Fixed memory for one sketch per slot.

    Not for two threads at once: one table, one thread at a time (two tables are independent).
    """

    slots: tuple[Slot, ...]

    def clear(self) -> None:
        """Empty all sketches; the channels keep the observation at which they were last active."""

    def accumulate(self, slots: Sequence[int], tensors: Sequence[torch.Tensor], observation: int) -> None:
        """Add each tensor's elements to its slot's sketch; a slot may occur several times.

        A tensor without memory (empty, or storage released) adds nothing. `observation` (>= 1) numbers the
        sampled steps: it chooses the pieces that enter the histogram and becomes the last-active mark of the
        channels seen active. Nothing is written to a tensor and no reference to one is kept.

        Channels are found by position: a tensor for a slot that has some lies in memory in the order of axes
        that the slot was made for; this is not checked. ValueError for a tensor that is not dense memory of
        its slot's type on the table's device, for an observation below 1 or unequal lengths, IndexError for a
        slot that does not exist; the table is then unchanged.
        """

    def note_moved(self, slots: Sequence[int], ratios: Sequence[float]) -> None:
        """Note how far these slots' tensors moved, until the table is cleared."""

    def silent(self, since: int) -> array[int]:
        """Count, per slot, the channels last active before observation `since`; 0 without channels.

        For a pair (a, b) of slots slot a counts only the channels that are silent in b as well (an output
        never positive, and no gradient arriving).
        """

    def read_out(self, since: int, least: int) -> ReadOut:
        """End an observation: all that the rows with tensors hold.

        A row's channels are judged silent since observation `since`, and only where it was given tensors in
        `least` of the observations ended so far (the last `REMEMBERED` of them), this one included.
        """

    def export(self, slots: Sequence[int] | None = None) -> Packed:
        """Copy the sketches of these slots (all: None), in this order; IndexError for an unknown one."""


class StridedSample(Protocol):
    """At most `limit` elements of each tensor, by constant stride, before and after a step."""

    def take(self, tensors: Sequence[torch.Tensor]) -> None:
        """Copy the samples.

        ValueError when their number, or a tensor's element count or type, is not the constructor's, or one is
        no longer dense memory of this device.
        """

    def ratios(self, tensors: Sequence[torch.Tensor]) -> array[float]:
        """Return ``||new - old|| / ||old||`` over each sample, 'd' [k].

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
    SketchTable: Callable[..., SketchTable]
    """Make a table: ``SketchTable(slots, pairs=())``. Pairs of slots: see `SketchTable.silent`; ValueError
    where the two have unlike numbers of channels."""
    sum_squares: Callable[[Sequence[torch.Tensor]], array[float]]
    """Sum of squares per tensor in one call, 'd' [k]; NaN and Inf propagate. ValueError for a tensor that is
    not dense memory of this device, or whose type cannot be sketched."""
    StridedSample: Callable[..., StridedSample]
    """Make a sampler: ``StridedSample(tensors, limit=4096)``."""
    warm: Callable[[], Warmth]
    """Load or compile everything, so that no later call does."""
