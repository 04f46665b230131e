"""Which scalars a sample carries, by the names that charts and rules use."""

from __future__ import annotations

from tuimon.records.sample import Sample

#: Which probe of `Hello.probes` sees a series, where it is not called the same.
PROBES = {
    "lr": "optimizer", "grad_norm": "gradients", "grad_norm_preclip": "clip", "clip_ratio": "clip",
    "gradient_rms": "gradients", "update_ratio": "updates", "activation_rms": "activations",
    "dead_ratio": "activations",
    "saturated_ratio": "activations", "output_gradient_rms": "output_gradients",
}  # fmt: skip

#: Parameter groups, and losses of several optimizers, that get a series of their own.
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
    }
    for i, lr in enumerate(sample.lr[: _MOST_GROUPS if len(sample.lr) > 1 else 0]):
        scalars[f"lr/{i}"] = lr
    for name in list(sample.losses)[:_MOST_GROUPS]:
        scalars[f"loss/{name}"] = sample.losses[name]
    return scalars
