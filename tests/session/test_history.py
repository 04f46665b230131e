"""The history: bounded whatever the run's length, absence apart from NaN, layers merged from sketches."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tests.rules.synthetic_runs import Run, perceptron
from tuimon.records.layout import Layout, TensorKind
from tuimon.records.sample import Log, Sample
from tuimon.session.compact import RELATIVE_ERROR, compact, expand
from tuimon.session.history import HISTOGRAM_BYTES, History
from tuimon.session.thinning import compress, thinned
from tuimon.session.timeline import Timeline


def test_three_hundred_layers_and_ten_thousand_samples_fit() -> None:
    run = Run(perceptron(150), rules=())
    for _ in range(200):
        run.step(1.0)
    # All arrays are made at their full size; only their pages fill up as the run goes on.
    history = run.session.history
    assert len(run.layout.layers) == 300
    assert history.nbytes < 30 << 20
    before = history.nbytes
    sample = history.sample
    for i in range(201, 10_201):
        history.add_sample(replace(sample, index=i, step=i))
    assert history.nbytes == before
    assert len(history) <= 10_000
    assert history.steps[0] == 1 and history.steps[-1] == 10_200
    picture = history.layer_series("gradient_rms")
    assert picture.values.shape[0] == 300 and picture.steps[0] == 1 and picture.steps[-1] == 10_200


@given(st.integers(4, 200))
def test_thinning_keeps_the_first_and_the_newer_half_and_frees_a_quarter(count: int) -> None:
    keep = thinned(count)
    assert keep[0] == 0
    assert set(range(count // 2, count)) <= set(keep.tolist())
    assert len(keep) <= count - count // 4
    assert (np.diff(keep) > 0).all()
    rows = np.arange(count)
    compress(rows, keep)
    assert np.array_equal(rows[: len(keep)], keep)


def test_a_timeline_tells_absence_from_nan() -> None:
    timeline = Timeline(8)
    timeline.append(1, 1.0, {"loss": None, "lr": 0.1})
    timeline.append(2, 2.0, {"loss": math.nan, "lr": 0.1})
    timeline.append(3, 3.0, {"loss": 0.0, "lr": None})
    loss = timeline.series("loss")
    assert loss.measured.tolist() == [False, True, True]
    assert math.isnan(loss.values[1]) and loss.values[2] == 0.0
    assert loss.newest == 0.0 and timeline.series("lr").newest is None
    assert len(timeline.series("never")) == 0 and "never" not in timeline.names


def test_a_thinned_row_is_measured_no_more_when_it_is_used_again() -> None:
    timeline = Timeline(8)
    for step in range(1, 9):
        timeline.append(step, 0.0, {"loss": 1.0})
    timeline.append(9, 0.0, {"loss": None})
    assert timeline.steps.tolist() == [1, 3, 5, 6, 7, 8, 9]
    assert timeline.series("loss").measured.tolist() == [True] * 6 + [False]


def test_the_first_step_stays_however_long_the_run() -> None:
    timeline = Timeline(16)
    for step in range(1, 2001):
        timeline.append(step, float(step), {"loss": float(step)})
    series = timeline.series("loss")
    assert series.steps[0] == 1 and series.steps[-1] == 2000
    assert np.array_equal(series.steps, series.values)
    assert (np.diff(series.steps) > 0).all()


@given(arrays(np.float32, 20, elements=st.floats(width=32)), arrays(np.bool_, 20))
def test_two_bytes_a_value_keep_what_the_eye_sees(values: np.ndarray, measured: np.ndarray) -> None:
    shown, known = expand(compact(values, measured))
    assert np.array_equal(known, measured)
    for value, seen in zip(values[measured].astype(float), shown[measured].astype(float), strict=True):
        if math.isnan(value):
            assert math.isnan(seen)
        elif math.isinf(value) or abs(value) < 2.0**-126:
            # Subnormal numbers keep their place, not their digits: half of the last kept place is 2**-134.
            assert seen == value or abs(seen - value) <= 2.0**-134
        elif math.isinf(seen):
            assert abs(value) > (1 - RELATIVE_ERROR) * np.finfo(np.float32).max
        else:
            assert abs(seen - value) <= RELATIVE_ERROR * abs(value)


def test_a_nan_of_any_pattern_stays_one_and_is_measured() -> None:
    patterns = np.array([0x7FFFFFFF, 0xFFFFFFFF, 0x7F800001, 0xFFC00000], np.uint32).view(np.float32)
    shown, known = expand(compact(patterns, np.ones(4, np.bool_)))
    assert np.isnan(shown).all() and known.all()


def test_layers_are_merged_from_their_parameters() -> None:
    run = Run(perceptron(2), rules=())
    run.step(1.0, gradients=[3.0, 1.0], weights=2.0, updates=[1e-2, 0.5], dead={"act1": 0.25})
    layers = run.session.history.layer_series
    names = layers("gradient_rms").names
    assert names == ("fc0", "act0", "fc1", "act1")
    assert layers("gradient_rms").values[:, -1][[0, 2]] == pytest.approx([3.0, 1.0], rel=RELATIVE_ERROR)
    assert layers("gradient_rms").measured[:, -1].tolist() == [True, False, True, False]
    assert layers("update_ratio").values[:, -1][[0, 2]] == pytest.approx([1e-2, 0.5], rel=RELATIVE_ERROR)
    assert layers("dead_ratio").values[3, -1] == pytest.approx(0.25, rel=RELATIVE_ERROR)
    with pytest.raises(KeyError, match="no layer metric 'loss'; there are gradient_rms"):
        layers("loss")


def test_nan_stays_nan_in_the_picture_and_is_counted() -> None:
    run = Run(perceptron(2), rules=())
    run.step(1.0, bad=[(TensorKind.GRADIENT, "fc1.weight")])
    history = run.session.history
    assert np.isnan(history.layer_series("gradient_rms").values[2, -1])
    assert history.layer_series("nonfinite").values[:, -1].tolist() == [0, 0, 1, 0]


def test_a_weight_of_zeros_has_no_part_in_its_layers_update() -> None:
    run = Run(perceptron(1), rules=())
    run.step(1.0, weights=0.0, updates=math.inf)
    series = run.session.history.layer_series("update_ratio")
    assert series.measured[0, -1] and series.values[0, -1] == 0.0


def test_another_layout_keeps_the_past_by_name() -> None:
    run = Run(perceptron(3), rules=())
    run.step(1.0, gradients=[1.0, 2.0, 4.0])
    keep = tuple(layer for layer in run.layout.layers if layer.name not in ("fc0", "act0"))
    history = run.session.history
    history.add_layout(Layout(2, keep, ()))
    series = history.layer_series("gradient_rms")
    assert series.names == ("fc1", "act1", "fc2", "act2")
    assert series.values[[0, 2], 0].tolist() == [2.0, 4.0]
    # A sample that still refers to the old names adds its scalars only.
    history.add_sample(replace(history.sample, index=2, step=2, layout=1))
    assert len(history) == 2 and history.layer_series("gradient_rms").steps.tolist() == [1]


def test_windows_slide_over_any_number_of_samples() -> None:
    run = Run(perceptron(1), rules=())
    for i in range(1, 900):
        run.step(1.0, gradients=float(i))
    rows = run.session.history.rows_of(TensorKind.GRADIENT)
    series = run.session.history.tensors("rms", rows, 10)
    assert series.steps.tolist() == list(range(890, 900))
    assert series.values[:, 0] == pytest.approx(np.arange(890.0, 900.0))
    whole = run.session.history.tensors("rms", rows)
    assert len(whole.steps) == 256 and whole.values[0, 0] == pytest.approx(644.0)


def test_logged_scalars_have_steps_of_their_own() -> None:
    history = History()
    for step in (5, 10):
        history.add_log(Log(step, 0.0, {"val_loss": step / 10}))
    assert history.scalar("val_loss").steps.tolist() == [5, 10]
    assert history.scalar("val_loss").values.tolist() == [0.5, 1.0]
    assert "val_loss" in history.scalar_names


def test_histograms_are_bounded_and_found_by_row() -> None:
    from array import array

    from tuimon.records.histogram import Histogram
    from tuimon.records.tensors import TensorTable

    layout = perceptron(1)
    history = History()
    history.add_layout(layout)
    k, width = len(layout.tensors), 2000
    table = TensorTable(
        array("i", range(k)), array("q", bytes(48 * k)), array("d", bytes(32 * k)), array("d", bytes(24 * k)),
        array("B", bytes(k)), array("q", [2 * width] * k), array("q", [0] * k), array("h", [-3] * k),
        array("h", [width] * k), array("I", [1] * (2 * width * k)),
    )  # fmt: skip
    for i in range(1, 100):
        history.add_sample(Sample(i, i, 0.0, layout.id, tensors=table))
    found = history.histograms(3)
    assert 1 < len(found) < 64
    assert found[-1] == (99, Histogram(2 * width, 0, -3, (1,) * width, (1,) * width))
    assert len(history.histograms(3, last=2)) == 2
    assert len(found) * table.nbytes <= HISTOGRAM_BYTES
    assert history.histograms(k) == []
