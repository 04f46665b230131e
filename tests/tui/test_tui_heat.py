"""The heat map: incremental equals from scratch, absence is not a level, and little of it changes."""

from __future__ import annotations

import numpy as np
import pytest
from tui_fakes import DYING, HEALTHY_RUN, RULES, events, session_of

from tuimon.session.history import History
from tuimon.tui.draw.heat import cell, heat_pair, heat_row, legend
from tuimon.tui.draw.text import cells
from tuimon.tui.look import Look, dark, light, mono
from tuimon.tui.model.heat import LEVELS, NONFINITE, UNSEEN, HeatMap, Scale
from tuimon.tui.model.metric import ACTIVATION, DEAD, GRADIENT, METRICS, Metric
from tuimon.tui.model.rows import blocks, rows
from tuimon.tui.model.span import Span, whole

LOOKS = [dark(), light(), mono(), dark(ascii=True), mono(ascii=True)]


def _history(samples: int) -> History:
    return session_of(events(HEALTHY_RUN, samples), RULES).history


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.label)
@pytest.mark.parametrize("folded", [False, True])
def test_sample_by_sample_is_the_same_as_all_at_once(metric: Metric, folded: bool) -> None:
    history, heat_map = History(), HeatMap()
    history.add_layout(HEALTHY_RUN.layout)
    for sample in HEALTHY_RUN.samples(90):
        history.add_sample(sample)
        shown = rows(history.layer_names, blocks(history.layer_names) if folded else frozenset())
        by_and_by = heat_map.update(history, metric, shown, whole(history.steps, 40))
    at_once = HeatMap().update(history, metric, shown, whole(history.steps, 40))
    np.testing.assert_allclose(by_and_by.values, at_once.values, rtol=1e-6)
    assert ((by_and_by.codes == UNSEEN) == (at_once.codes == UNSEEN)).all()
    # Levels may differ by the margin that keeps them still.
    assert np.abs(by_and_by.codes - at_once.codes).max() <= 1 or by_and_by.scale != at_once.scale


def test_a_folded_block_is_the_geometric_mean_of_its_layers() -> None:
    history = _history(40)
    span, names = whole(history.steps, 40), history.layer_names
    block = next(row for row in rows(names, frozenset({"blocks.2"})) if row.folded)
    folded = HeatMap().update(history, GRADIENT, [block], span).values[0]
    single = HeatMap().update(history, GRADIENT, rows(names, frozenset()), span).values[list(block.layers)]
    present = ~np.isnan(single).all(axis=1)
    np.testing.assert_allclose(folded, np.exp(np.log(single[present]).mean(axis=0)), rtol=1e-6)


def test_what_was_not_measured_has_no_level() -> None:
    history = _history(30)
    heat = HeatMap().update(history, DEAD, rows(history.layer_names, frozenset()), whole(history.steps, 30))
    measured = [name.endswith("mlp.act") for name in history.layer_names]
    assert ((heat.codes != UNSEEN).any(axis=1) == measured).all()


def test_a_value_that_is_not_finite_marks_its_layer_and_its_block() -> None:
    history = History()
    history.add_layout(HEALTHY_RUN.layout)
    layer = next(i for i, t in enumerate(HEALTHY_RUN.layout.tensors) if t.name == "blocks.3.mlp.up"
                 and t.kind.value == "activation")  # fmt: skip
    for index in range(1, 11):
        sample = HEALTHY_RUN.sample(index)
        if index > 7:
            sample.tensors.counts[6 * layer + 1] = 5
        history.add_sample(sample)
    names, span = history.layer_names, whole(history.steps, 10)
    single = HeatMap().update(history, ACTIVATION, rows(names, frozenset()), span)
    assert single.codes[names.index("blocks.3.mlp.up")].tolist()[6:] == pytest.approx(
        [single.codes[names.index("blocks.3.mlp.up"), 6], NONFINITE, NONFINITE, NONFINITE]
    )
    assert (single.codes == NONFINITE).sum() == 3
    block = [row for row in rows(names, frozenset({"blocks.3"})) if row.folded]
    assert (HeatMap().update(history, ACTIVATION, block, span).codes == NONFINITE).sum() == 3


def test_exact_zeros_are_below_everything_and_not_absent() -> None:
    history = History()
    history.add_layout(HEALTHY_RUN.layout)
    row = next(i for i, t in enumerate(HEALTHY_RUN.layout.tensors) if t.name == "blocks.3.mlp.up"
               and t.kind.value == "activation")  # fmt: skip
    for index in range(1, 6):
        sample = HEALTHY_RUN.sample(index)
        sample.tensors.moments[4 * row + 1] = 0.0
        history.add_sample(sample)
    names = history.layer_names
    heat = HeatMap().update(history, ACTIVATION, rows(names, frozenset()), whole(history.steps, 5))
    assert heat.codes[names.index("blocks.3.mlp.up")].tolist() == [0] * 5


def test_noise_changes_few_cells_and_never_old_ones() -> None:
    history, heat_map = History(), HeatMap()
    history.add_layout(HEALTHY_RUN.layout)
    shown = rows(HEALTHY_RUN.layout and tuple(layer.name for layer in HEALTHY_RUN.layout.layers), frozenset())
    changed, updates, before, span = 0, 0, None, None
    for sample in HEALTHY_RUN.samples(400):
        history.add_sample(sample)
        heat = heat_map.update(history, GRADIENT, shown, whole(history.steps, 60))
        if before is not None and heat.span == span and heat.scale == before.scale:
            different = heat.codes != before.codes
            assert not different[:, : before.newest].any()
            changed, updates = changed + int(different.sum()), updates + 1
        before, span = heat, heat.span
    assert updates > 300
    # A new column brings one cell a row; columns are some samples wide.
    assert changed / updates < 0.5 * len(shown)


def test_what_really_changes_changes_its_level() -> None:
    history, heat_map = History(), HeatMap()
    history.add_layout(HEALTHY_RUN.layout)
    names, span = tuple(layer.name for layer in HEALTHY_RUN.layout.layers), Span(1, 100, 3)
    row = next(i for i, t in enumerate(HEALTHY_RUN.layout.tensors) if t.name == "head"
               and t.kind.value == "activation")  # fmt: skip
    levels = []
    for index in range(1, 21):
        sample = HEALTHY_RUN.sample(index)
        if index > 5:
            sample.tensors.moments[4 * row + 1] *= 1e-4
        history.add_sample(sample)
        heat = heat_map.update(history, ACTIVATION, rows(names, frozenset()), span)
        levels.append(int(heat.codes[names.index("head"), 0]))
    assert levels[4] == levels[0]
    assert levels[-1] <= levels[4] - 3


def test_a_fault_is_seen_where_it_is_and_since_when() -> None:
    history = session_of(events(DYING, 400), RULES).history
    names, span = history.layer_names, whole(history.steps, 54)
    heat = HeatMap().update(history, GRADIENT, rows(names, frozenset()), span)
    began = span.column(DYING.dies_at)
    assert began is not None
    sick, well = heat.codes[names.index("blocks.5.mlp.up")], heat.codes[names.index("blocks.4.mlp.up")]
    assert sick[began - 1] - sick[heat.newest] >= LEVELS // 2
    assert abs(int(well[began - 1]) - int(well[heat.newest])) <= 1


@pytest.mark.parametrize("look", LOOKS, ids=lambda look: f"{look.name}{look.ascii}")
def test_rows_have_their_width_and_levels_their_own_look(look: Look) -> None:
    codes = np.array([UNSEEN, 0, 0, 5, LEVELS - 1, NONFINITE, UNSEEN, UNSEEN], np.int8)
    marks = {3: ("▲", look.bad)}
    for text in (
        heat_row(codes, 6, look, marks), heat_pair(codes, codes[::-1].copy(), 6, look, marks),
        heat_pair(codes, None, 6, look), heat_row(np.full(8, UNSEEN, np.int8), -1, look, marks),
        legend(Scale(-5.0, -1.0), GRADIENT, look)[1:-1] + heat_row(codes, 7, look)[:0],
    ):  # fmt: skip
        assert cells(text) == (8 if cells(text) != LEVELS else LEVELS)
    assert "▲" in "".join(segment.text for segment in heat_row(codes, 6, look, marks))
    shown = {cell(level, level, look, False) for level in (UNSEEN, 0, 5, LEVELS - 1, NONFINITE)}
    assert len(shown) == 5


def test_a_look_stands_for_the_steps_up_to_the_next_and_a_lost_stretch_for_nothing() -> None:
    history = History()
    history.add_layout(HEALTHY_RUN.layout)
    for index, step in enumerate((1, 2, 3, 13, 23, 63, 73), start=1):
        history.add_sample(HEALTHY_RUN.sample(index, step=step))
    span = Span(1, 2, 40, hold=8)
    codes = HeatMap().update(history, GRADIENT, rows(history.layer_names, frozenset()), span).codes[0]
    seen = (codes != UNSEEN).tolist()
    assert seen == [column <= 19 or 31 <= column <= 36 for column in range(40)]
    # Held, not made up: what stands between is what was seen before.
    assert len(set(codes[1:6].tolist())) == 1


def test_columns_to_come_stay_blank() -> None:
    text = heat_row(np.full(10, 3, np.int8), 4, dark())
    assert [len(segment.text) for segment in text] == [5, 5]
    assert text[1].style == dark().text
