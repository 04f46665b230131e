"""Two ranks on gloo, of which one alone is entered: it shows what is its own, and never asks the other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from looping import Bare, Line, Loop, Rank, Recording, close, tensors

#: Sums of squares of some thousand fp32 numbers, added in short stretches of fp32.
NORM = 1e-4


class Pair:
    """Both ranks of a program, and what tuimon said of the second one."""

    def __init__(self, begin: Callable[..., Loop], bare: Bare, program: str, rendezvous: Path) -> None:
        self.loops = [begin(program, rank=Rank(rank, 2, rendezvous)) for rank in range(2)]
        entered = self.loops[1]
        entered.until_step(10)
        self.recording: Recording = entered.record(steps=20)
        entered.until_step(entered.said[-1]["step"] + 5)
        # Rank 0 tells the other one to stop.
        for loop in self.loops:
            loop.stop()
        self.bare = bare.run(program, self.loops[0].said[-2]["step"], ranks=2)

    @property
    def said(self) -> list[list[Line]]:
        return [loop.said for loop in self.loops]

    def pairs(self) -> list[tuple[Line, Line]]:
        """Samples with rank 1's own account of that step; AdamW counts its steps itself."""
        truths = {line["step"]: line for line in self.loops[1].said if "step" in line}
        return [(sample, truths[sample["step"]]) for sample in self.recording.samples]


@pytest.fixture(scope="module")
def pair(
    begin: Callable[..., Loop], bare: Bare, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Pair]:
    known: dict[str, Pair] = {}

    def pair(program: str) -> Pair:
        if program not in known:
            known[program] = Pair(begin, bare, program, tmp_path_factory.mktemp("ranks") / "rendezvous")
        return known[program]

    return pair


@pytest.mark.parametrize("program", ["ddp.py", "fsdp.py"])
def test_one_rank_is_entered_and_both_compute_what_they_compute_alone(
    pair: Callable[[str], Pair], program: str
) -> None:
    ran = pair(program)
    assert ran.said == ran.bare
    assert (ran.recording.hello["rank"], ran.recording.hello["world_size"]) == (1, 2)


def test_ddp_shows_this_ranks_loss_and_the_gradients_that_both_apply(pair: Callable[[str], Pair]) -> None:
    ran = pair("ddp.py")
    assert ran.recording.hello["layers"] == ["0", "1", "2"]
    assert "other_ranks" not in ran.recording.hello["probes"]
    told = 0
    for sample, truth in ran.pairs():
        assert sample["loss"] == truth["loss"]
        assert close(sample["grad_norm"], truth["grad_norm"], NORM)
        if sample["grad_norm_preclip"] is not None:
            told += 1
            assert close(sample["grad_norm_preclip"], truth["preclip"], NORM)
        assert list(tensors(sample, "weight")) == ["0.weight", "0.bias", "2.weight", "2.bias"]
        assert {t["whole_shape"] for t in sample["tensors"]} == {None}
    assert told >= len(ran.recording.samples) - 1


def test_fsdp_shows_the_shards_of_this_rank_and_says_so(pair: Callable[[str], Pair]) -> None:
    ran = pair("fsdp.py")
    hello = ran.recording.hello
    assert hello["layers"] == ["0", "1.up", "1.act", "1.down", "2.up", "2.act", "2.down", "3"]
    # Of the whole model, however it is divided.
    assert hello["parameters"] == 8 * 16 + 16 + 2 * (16 * 33 + 33 + 33 * 16 + 16) + 16 + 1
    assert hello["probes"]["other_ranks"] == (
        "parameters are divided among the ranks; norms and values are of the part of rank 1 of 2"
    )
    for sample, truth in ran.pairs():
        assert sample["loss"] == truth["loss"]
        assert close(sample["grad_norm"], truth["grad_norm"], NORM)
        weights = tensors(sample, "weight")
        assert weights.keys() == truth["weights"].keys()
        for name, weight in weights.items():
            assert close(weight["norm"], truth["weights"][name], NORM)
        # Of 33 rows rank 1 has 16, of 1 none.
        assert (weights["1.up.weight"]["n"], weights["1.up.weight"]["whole_shape"]) == (16 * 16, [33, 16])
        assert (weights["3.bias"]["n"], weights["3.bias"]["whole_shape"]) == (0, [1])
        assert len(tensors(sample, "activation")) == 8
