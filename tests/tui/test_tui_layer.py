"""What the layer's panel says of a layer."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tuimon.records.layout import LayerInfo, Layout
from tuimon.tui.widgets.layer import described


@pytest.mark.parametrize(
    ("calls", "said"), [(None, "Linear"), (1, "Linear"), (3, "Linear, 3 calls a step")]
)
def test_calls_that_are_drawn_as_one_are_counted(calls: int | None, said: str) -> None:
    layout = Layout(1, (LayerInfo("shared", "Linear", calls=calls),), ())
    view: Any = SimpleNamespace(session=SimpleNamespace(layout=layout))
    assert described(view, (0,), "shared") == ("shared", said)
