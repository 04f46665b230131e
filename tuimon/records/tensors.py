"""The tensors of one sample, by columns: cheap to fill, cheap to send, one row on request.

Columns are `array.array`, so that they exist in any interpreter, and the viewer looks at them
through NumPy without a copy (`numpy.frombuffer`).
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass

from tuimon.records.histogram import Histogram
from tuimon.records.layout import Layout, TensorKind
from tuimon.records.sketch import Sketch

#: Columns of `TensorTable.counts`, of `TensorTable.moments` and of `TensorTable.ratios`.
COUNTS = ("n", "nan", "pos_inf", "neg_inf", "zero", "limit")
MOMENTS = ("sum", "sum_sq", "min", "max")
RATIOS = ("update_ratio", "dead_ratio", "saturated_ratio")

#: Bits of `TensorTable.measured`: a ratio whose bit is not set was not measured (None, not 0).
UPDATE_RATIO, DEAD_RATIO, SATURATED_RATIO = 1, 2, 4
_BITS = (UPDATE_RATIO, DEAD_RATIO, SATURATED_RATIO)


@dataclass(frozen=True, slots=True)
class TensorStats:
    """One row: a named tensor at one step."""

    name: str
    kind: TensorKind
    layer: str | None
    sketch: Sketch
    #: ||w_after - w_before|| / ||w_before||, estimated from a strided sample; weights only.
    update_ratio: float | None = None
    #: Share of channels silent in every observed batch of the window (`Sample.dead_window`).
    dead_ratio: float | None = None
    #: Share of a bounded activation's elements at its limits.
    saturated_ratio: float | None = None
    #: Shape of the whole tensor where this is of one rank's shard of it; else None.
    whole_shape: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class TensorTable:
    """Statistics of `len(rows)` tensors of one layout. All arrays are row-major.

    `moments` holds min = +inf and max = -inf for a row without finite elements, as the neutral
    elements of merging; `stats` turns them into None.
    """

    #: [k] 'i': indices into `Layout.tensors`, ascending.
    rows: array[int]
    #: [k, 6] 'q': see `COUNTS`.
    counts: array[int]
    #: [k, 4] 'd': see `MOMENTS`.
    moments: array[float]
    #: [k, 3] 'd': see `RATIOS`; 0 where not measured, see `measured`.
    ratios: array[float]
    #: [k] 'B': bit set of the ratios that were measured.
    measured: array[int]
    #: [k] 'q': elements the histogram looked at, and zeros among them.
    hist_n: array[int]
    hist_zero: array[int]
    #: [k] 'h': exponent of the first bin, and number of bins per sign.
    hist_first: array[int]
    hist_width: array[int]
    #: 'I' or 'q': per row, `hist_width` negative counts then as many positive ones; empty if left out.
    hist_counts: array[int]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def nbytes(self) -> int:
        """Bytes that the columns hold."""
        columns = (self.rows, self.counts, self.moments, self.ratios, self.measured, self.hist_n,
                   self.hist_zero, self.hist_first, self.hist_width, self.hist_counts)  # fmt: skip
        return sum(len(column) * column.itemsize for column in columns)

    def without_histograms(self) -> TensorTable:
        """The same table with no bins: a third of the size, for long histories."""
        k = len(self.rows)
        nothing, none = array("q", bytes(8 * k)), array("h", bytes(2 * k))
        return TensorTable(
            self.rows, self.counts, self.moments, self.ratios, self.measured,
            nothing, nothing, none, none, array("I"),
        )  # fmt: skip

    def sketch(self, k: int, start: int | None = None) -> Sketch:
        """Row `k` as a `Sketch`; `start` is where its bins begin in `hist_counts`, if known."""
        n, nan, pos_inf, neg_inf, zero, limit = self.counts[6 * k : 6 * k + 6]
        total, total_sq, low, high = self.moments[4 * k : 4 * k + 4]
        finite = n - nan - pos_inf - neg_inf
        limited = bool(self.measured[k] & SATURATED_RATIO)
        return Sketch(
            n, nan, pos_inf, neg_inf, zero, total, total_sq,
            low if finite else None, high if finite else None,
            limit if limited else None, self.histogram(k, start),
        )  # fmt: skip

    def histogram(self, k: int, start: int | None = None) -> Histogram:
        """Row `k`'s histogram; empty (n = 0) when histograms were left out."""
        width = self.hist_width[k]
        if start is None:
            start = 2 * sum(self.hist_width[:k])
        bins = self.hist_counts[start : start + 2 * width]
        return Histogram(
            self.hist_n[k], self.hist_zero[k], self.hist_first[k] if width else 0,
            tuple(bins[:width]), tuple(bins[width:]),
        )  # fmt: skip

    def ratio(self, k: int, column: int) -> float | None:
        """Row `k`'s ratio number `column` of `RATIOS`; None where it was not measured."""
        return self.ratios[3 * k + column] if self.measured[k] & _BITS[column] else None

    def stats(self, layout: Layout) -> Iterator[TensorStats]:
        """All rows with their names, in the layout's order."""
        start = 0
        for k, row in enumerate(self.rows):
            info = layout.tensors[row]
            layer = None if info.layer is None else layout.layers[info.layer].name
            update, dead, saturated = (self.ratio(k, column) for column in range(3))
            sketch = self.sketch(k, start)
            yield TensorStats(info.name, info.kind, layer, sketch, update, dead, saturated, info.whole_shape)
            start += 2 * self.hist_width[k]


def empty_table() -> TensorTable:
    """A table without rows: a step at which no tensor was read."""
    return TensorTable(
        array("i"), array("q"), array("d"), array("d"), array("B"),
        array("q"), array("q"), array("h"), array("h"), array("I"),
    )  # fmt: skip
