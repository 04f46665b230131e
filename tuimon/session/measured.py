"""What watching was measured to cost, in words."""

from __future__ import annotations

from tuimon.records.trial import Trial


def measured_words(trial: Trial) -> str:
    """Such as "watching costs +0.8 % (+0.2 to +1.3 %)"."""
    if trial.ratio is None:
        return "nothing yet about what watching costs"
    between = interval_words(trial)
    return f"watching costs {share(trial.ratio)} %{f' ({between})' if between else ''}"


def interval_words(trial: Trial) -> str:
    """Such as "+0.2 to +1.3 %": where the true cost lies; empty when that is not known."""
    if trial.low is None or trial.high is None:
        return ""
    return f"{share(trial.low)} to {share(trial.high)} %"


def share(ratio: float) -> str:
    """What a ratio of step times is above 1, in hundredths and with its sign."""
    above = 100.0 * (ratio - 1.0)
    return f"{above:+.1f}" if abs(above) < 99.95 else f"{above:+.0f}"
