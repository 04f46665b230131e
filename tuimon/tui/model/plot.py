"""Which curves there are to be drawn."""

from __future__ import annotations

from dataclasses import dataclass

from tuimon.session.clipping import SHORTENED
from tuimon.session.history import History


@dataclass(frozen=True, slots=True)
class Plot:
    """One chart: its title and its series by the names of `History.scalar`, the main one first."""

    title: str
    series: tuple[str, ...]
    #: What each curve is called where there are several.
    names: tuple[str, ...] = ()
    #: Logarithmic or not; None lets the values decide.
    log: bool | None = None
    #: What is said below it, where there is room.
    foot: str | None = None


#: Scalars of a sample that have a chart of their own, or are told elsewhere.
_NO_CHART_OF_ITS_OWN = ("lr/", "loss/", "criterion/", "val_loss/")


def plots(history: History) -> list[Plot]:
    """Charts in the order in which they are offered."""
    names = history.scalar_names
    others = [n for n in names if n not in _SAMPLED and not n.startswith(_NO_CHART_OF_ITS_OWN)]
    # What the training logs itself goes before what was seen of its loss functions.
    losses = [n for n in (*history.logged_names, *others) if n in others and "loss" in n.lower()]
    return [
        _loss(names, losses, history.logged_names),
        Plot("learning rate", *_rates(names), log=False),
        _norm(names, history),
        Plot("step time", ("step_s",)),
        *_accuracy(names),
        *_scale(history),
        *(Plot(name, (name,)) for name in others if name not in (*losses[:1], *_ACCURACIES)),
    ]


def _loss(names: tuple[str, ...], others: list[str], logged: tuple[str, ...]) -> Plot:
    several = [name for name in names if name.startswith("loss/")]
    if "loss" not in names and several:
        return Plot("loss", tuple(several[:2]), tuple(name.removeprefix("loss/") for name in several[:2]))
    if others:
        seen = others[0] == "val_loss" and "val_loss" not in logged
        return Plot("loss", ("loss", others[0]), ("train", "val" if seen else others[0]))
    return Plot("loss", ("loss",))


def _accuracy(names: tuple[str, ...]) -> list[Plot]:
    """Train and validation accuracy, as far as there is any."""
    seen = tuple(name for name in _ACCURACIES if name in names)
    labels = tuple(name.removesuffix("_accuracy") for name in seen)
    return [Plot("accuracy", seen, labels, log=False)] if seen else []


def _rates(names: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    groups = [name for name in names if name.startswith("lr/")]
    if len(groups) < 2:
        return ("lr",), ()
    return ("lr/0", "lr/1"), ("group 0", "group 1")


def _norm(names: tuple[str, ...], history: History) -> Plot:
    if "grad_norm_preclip" in names and _clips(history):
        names = ("after clipping", "before")
        clipped = f"clipped in {100.0 * (history.clip_ratio or 0.0):.0f} % of steps"
        return Plot("gradient norm", ("grad_norm", "grad_norm_preclip"), names, log=True, foot=clipped)
    return Plot("gradient norm", ("grad_norm",), log=True)


def _scale(history: History) -> list[Plot]:
    """The scale of a gradient scaler, if there is one, and how many of the steps shown it left out."""
    if not len(history.scalar("loss_scale").present):
        return []
    skipped = int(history.scalar("skipped").present.values.sum())
    some = "step" if skipped == 1 else "steps"
    foot = f"{skipped} observed {some} skipped" if skipped else None
    return [Plot("loss scale", ("loss_scale",), log=True, foot=foot)]


def _clips(history: History) -> bool:
    """Whether clipping ever changed anything: else the two curves are one."""
    before, after = history.scalar("grad_norm_preclip"), history.scalar("grad_norm")
    both = before.measured & after.measured if len(before) == len(after) else before.measured[:0]
    return bool((before.values[: len(both)][both] > (1 + SHORTENED) * after.values[: len(both)][both]).any())


_ACCURACIES = ("train_accuracy", "val_accuracy")
_SAMPLED = frozenset((
    "loss", "lr", "grad_norm", "grad_norm_preclip", "step_s", "data_s", "forward_s", "backward_s",
    "optimizer_s", "overhead_ratio", "overhead_s", "every", "microbatches", "dead_window", "rss_bytes",
    "cuda_bytes", "loss_scale", "skipped", "clip_ratio",
))  # fmt: skip
