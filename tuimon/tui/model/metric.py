"""What the heat map can show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tuimon.tui.draw.numbers import number, percent, scientific


@dataclass(frozen=True, slots=True)
class Metric:
    """One value of every layer."""

    #: The key that chooses it; the first letter of its label.
    key: str
    #: As people call it.
    label: str
    #: As `History.layer_series` calls it.
    series: str
    #: What is meant, exactly, for the frame and the help.
    meaning: str
    #: Shown by its decimal logarithm; else it is a share in [0, 1].
    log: bool = True

    def text(self, value: float | None) -> str:
        """A value in at most seven columns."""
        if not self.log:
            return percent(value)
        text = number(value, 2)
        return text if len(text) <= 7 else scientific(value)


METRICS: Final = (
    Metric("g", "gradient", "gradient_rms", "RMS of the gradients the optimizer applied"),
    Metric("u", "update", "update_ratio", "size of the step over size of the weights"),
    Metric("a", "activation", "activation_rms", "RMS of the layer's output"),
    Metric("d", "dead", "dead_ratio", "share of units silent in every observed batch", log=False),
    Metric("w", "weight", "weight_rms", "RMS of the weights"),
)
#: Not in the heat map, but among a layer's curves.
ARRIVING: Final = Metric("", "gradient at the output", "output_gradient_rms", "RMS of what arrives there")
BY_KEY: Final = {metric.key: metric for metric in METRICS}
GRADIENT, UPDATE, ACTIVATION, DEAD, WEIGHT = METRICS
