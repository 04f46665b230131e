"""Takes the loss scale of a gradient scaler out of what was read in backward, where all is scaled."""

from __future__ import annotations

import math
from collections.abc import Container

from tuimon.records.tensors import MOMENTS, TensorTable


def unscale(table: TensorTable, rows: Container[int], scale: float) -> None:
    """Divide what these rows of a layout were read from by `scale`, in place.

    Exact for powers of two, which scales are unless somebody chose another; else a histogram, whose bins
    are powers of two, is moved by the nearest one.
    """
    if not (scale > 0 and math.isfinite(scale)) or scale == 1.0:
        return
    octaves, width = round(math.log2(scale)), len(MOMENTS)
    for k, row in enumerate(table.rows):
        if row in rows:
            total, squares, low, high = table.moments[width * k : width * (k + 1)]
            table.moments[width * k] = total / scale
            # In two steps: the square of a large scale is no float.
            table.moments[width * k + 1] = squares / scale / scale
            table.moments[width * k + 2] = low / scale
            table.moments[width * k + 3] = high / scale
            if table.hist_width[k]:
                table.hist_first[k] -= octaves
