"""What is read in backward under a gradient scaler is shown as if there were none."""

from __future__ import annotations

import torch
from observing import G, observing
from torch import nn

from tuimon.records.sketch import Sketch


def arrived(scaler: torch.amp.GradScaler | None) -> dict[str, Sketch]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with observing(model) as seen:
        loss = model(torch.randn(600, 4)).square().mean()
        if scaler is None:
            loss.backward()
            optimizer.step()
        else:
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
        return {name: stats.sketch for (name, kind), stats in seen.stats().items() if kind is G}


def test_a_scale_that_is_a_power_of_two_leaves_no_trace() -> None:
    alone = arrived(None)
    assert set(alone) == {"0", "1", "2"}
    assert alone["2"].histogram.n > 0
    for scale in (1.0, 2.0, 2.0**16, 2.0**-3):
        assert arrived(torch.amp.GradScaler("cpu", init_scale=scale)) == alone


def test_of_another_scale_only_rounding_remains() -> None:
    alone, scaled = arrived(None), arrived(torch.amp.GradScaler("cpu", init_scale=1000.0))
    for name, sketch in alone.items():
        told = scaled[name]
        assert (told.n, told.zero) == (sketch.n, sketch.zero)
        # Some five roundings of each element to fp32 on the way, and those of the sum.
        assert abs(told.norm - sketch.norm) < 1e-4 * sketch.norm
        for ours, theirs in ((told.min, sketch.min), (told.max, sketch.max)):
            assert ours is not None
            assert theirs is not None
            assert abs(ours - theirs) <= 1e-6 * abs(theirs)


def test_a_disabled_scaler_scales_nothing() -> None:
    assert arrived(torch.amp.GradScaler("cpu", enabled=False)) == arrived(None)
