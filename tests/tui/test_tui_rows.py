"""Rows: every layer once and in order, folded only where there is no room, the sick ones last."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from tuimon.tui.model.rows import block_of, choose, fold_to_fit, row_of, rows, scrolled

PARTS = ("norm1", "attn.qkv", "attn.out", "mlp.up", "mlp.down")
GPT = ("embed.token", *(f"blocks.{i}.{part}" for i in range(4) for part in PARTS), "head")
RESNET = ("conv1", "bn1", "layer1.0.conv1", "layer1.0.conv2", "layer1.1.conv1", "layer1.1.conv2", "fc")
PLAIN = ("0", "2", "4")


def test_blocks_are_what_lies_below_the_first_number() -> None:
    assert block_of("blocks.7.mlp.act") == "blocks.7"
    assert block_of("layer1.0.conv1") == "layer1.0"
    assert block_of("encoder.layers.3.self_attn.out_proj") == "encoder.layers.3"
    assert block_of("0.weight") == "0"
    assert block_of("head") is None
    assert block_of("0") is None


@given(st.sampled_from([GPT, RESNET, PLAIN]), st.integers(1, 30))
def test_every_layer_is_shown_once_and_in_order(names: tuple[str, ...], room: int) -> None:
    shown = rows(names, fold_to_fit(names, room))
    assert sorted(i for row in shown for i in row.layers) == list(range(len(names)))
    assert [row.layers[0] for row in shown] == sorted(row.layers[0] for row in shown)


def test_folding_goes_no_further_than_it_must() -> None:
    def shown(room: int) -> list[str]:
        return [row.name for row in rows(GPT, fold_to_fit(GPT, room))]

    assert shown(22) == list(GPT)
    assert shown(14)[:4] == ["embed.token", "blocks.0.norm1", "blocks.0.attn", "blocks.0.mlp"]
    assert shown(13) == ["embed.token", "blocks.0", "blocks.1", "blocks.2", "blocks.3", "head"]


def test_a_sick_block_stays_in_detail_as_far_as_there_is_room() -> None:
    def shown(room: int) -> int:
        found = rows(GPT, fold_to_fit(GPT, room, ("blocks.2",)))
        return sum(row.block == "blocks.2" for row in found)

    assert [shown(room) for room in (6, 8, 10)] == [1, 3, 5]


def test_a_filter_unfolds() -> None:
    found = rows(GPT, fold_to_fit(GPT, 6), re.compile(r"mlp\.(up|down)"))
    assert [row.name for row in found][:2] == ["blocks.0.mlp.up", "blocks.0.mlp.down"]
    assert row_of(found, 0) is None
    assert row_of(found, GPT.index("blocks.1.mlp.up")) == 2


@given(st.lists(st.floats(0, 10), max_size=20), st.integers(0, 20))
def test_the_most_important_rows_are_chosen_in_their_order(importance: list[float], room: int) -> None:
    chosen = choose(importance, room)
    assert chosen == sorted(chosen)
    assert len(chosen) == min(room, len(importance))
    left = [importance[i] for i in range(len(importance)) if i not in chosen]
    if left and chosen:
        assert min(importance[i] for i in chosen) >= max(left)


@given(st.integers(0, 500), st.integers(1, 60), st.data())
def test_the_cursor_is_always_in_the_window(count: int, room: int, data: st.DataObject) -> None:
    cursor = data.draw(st.integers(0, max(0, count - 1)))
    start = scrolled(count, room, cursor, data.draw(st.integers(0, 500)))
    assert 0 <= start <= max(0, count - room)
    if count:
        assert start <= cursor < start + room
    assert scrolled(count, room, cursor, start) == start
