"""Which scalars a sample carries, by the names that charts and rules use."""

from __future__ import annotations

from tuimon.records.criterion import Evaluation, accuracy_of
from tuimon.records.sample import Sample

#: Which probe of `Hello.probes` sees a series, where it is not called the same.
PROBES = {
    "lr": "optimizer", "grad_norm": "gradients", "grad_norm_preclip": "clip", "clip_ratio": "clip",
    "gradient_rms": "gradients", "update_ratio": "updates", "activation_rms": "activations",
    "dead_ratio": "activations",
    "saturated_ratio": "activations", "output_gradient_rms": "output_gradients",
    "val_loss": "criteria", "val_accuracy": "criteria", "train_accuracy": "criteria",
}  # fmt: skip

#: Parameter groups, losses of several optimizers, and loss terms, that get a series of their own.
_MOST_GROUPS = 16


def sample_scalars(sample: Sample) -> dict[str, float | None]:
    """The scalars of one sample; None where it was not measured."""
    scalars: dict[str, float | None] = {
        "loss": sample.loss,
        "grad_norm": sample.grad_norm,
        "grad_norm_preclip": sample.grad_norm_preclip,
        "step_s": sample.step_s,
        "data_s": sample.times.data_s,
        "forward_s": sample.times.forward_s,
        "backward_s": sample.times.backward_s,
        "optimizer_s": sample.times.optimizer_s,
        "overhead_ratio": sample.overhead_ratio,
        "overhead_s": sample.overhead_s,
        "every": sample.every,
        "microbatches": sample.microbatches,
        "dead_window": sample.dead_window,
        "rss_bytes": sample.rss_bytes,
        "cuda_bytes": sample.cuda_bytes,
        "loss_scale": sample.loss_scale,
        "skipped": None if sample.skipped is None else float(sample.skipped),
        "lr": sample.lr[0] if sample.lr else None,
        "train_accuracy": accuracy_of(sample.criteria),
    }
    for i, lr in enumerate(sample.lr[: _MOST_GROUPS if len(sample.lr) > 1 else 0]):
        scalars[f"lr/{i}"] = lr
    for name in list(sample.losses)[:_MOST_GROUPS]:
        scalars[f"loss/{name}"] = sample.losses[name]
    for term in sample.criteria[:_MOST_GROUPS]:
        scalars[f"criterion/{term.name}"] = term.value
    return scalars


def evaluation_scalars(evaluation: Evaluation) -> dict[str, float | None]:
    """The scalars of one validation pass; None where it was not measured."""
    scalars = {"val_loss": evaluation.loss, "val_accuracy": evaluation.accuracy}
    if len(evaluation.criteria) > 1:
        scalars |= {f"val_loss/{one.name}": one.value for one in evaluation.criteria[:_MOST_GROUPS]}
    return scalars


def loss_words(sample: Sample) -> str:
    """How the loss shown came about, such as "mean of 4 microbatches, unscaled"; empty where it is as it was.

    A loss that was divided by the number of microbatches before backward has that undone.
    """
    if sample.loss is None:
        return ""
    words = [f"mean of {sample.microbatches} microbatches"] if sample.microbatches > 1 else []
    if sample.loss_divisor is not None:
        words.append("divided before backward")
    if sample.loss_scale is not None:
        words.append("unscaled")
    return ", ".join(words)
