"""The page on losses: terms, and classes asked for beside classes answered."""

from __future__ import annotations

from tui_fakes import HEALTHY_RUN, RULES, Clock, app_of, events, session_of, shown

from tuimon.records.criterion import ClassCounts, Criterion, Evaluation
from tuimon.tui.app import MonitorApp

ASKED, ANSWERED = ClassCounts((0, 1, 2), (32, 16, 16)), ClassCounts((1,), (64,))
TERM = Criterion("cross_entropy", 2.25, "mean", 4, 64, 3, 64, 16, ASKED, ANSWERED)
FREQUENT = ClassCounts((7, 40_000), (50, 10), 40)
MANY = Criterion("nll_loss", 7.5, "sum", 1, 100, 50_000, 16, 0, FREQUENT, ClassCounts((3,), (16,)))


def app(*criteria: Criterion) -> MonitorApp:
    clock = Clock()
    session = session_of(events(HEALTHY_RUN, 8), RULES, clock)
    session.apply(HEALTHY_RUN.sample(9, microbatches=4, criteria=criteria))
    return app_of(session, clock)


async def page(app: MonitorApp, size: tuple[int, int]) -> list[str]:
    async with app.run_test(size=size) as pilot:
        await pilot.press("o")
        await pilot.pause()
        lines = shown(app)
        assert {len(line) for line in lines} == {size[0]}
        await pilot.press("o")
        await pilot.pause()
        assert shown(app)[1] != lines[1]
    return lines


async def test_terms_classes_and_answers() -> None:
    for size in ((80, 24), (160, 48)):
        lines = await page(app(TERM), size)
        screen = "\n".join(lines)
        assert "step 33  loss" in screen and "mean of 4 microbatches" in screen
        assert "cross_entropy  2.250     accuracy 25 % of 64, 3 classes, mean of 64" in screen
        (first,) = [line for line in lines if line.startswith("│   0 ")]
        (second,) = [line for line in lines if line.startswith("│   1 ")]
        assert first.split() == ["│", "0", "50", "%", first.split()[4], "0", "%", "│"]
        assert second.split()[5:7] == ["100", "%"]
        # Bars are as long as shares are large.
        assert second.count("█") > first.count("█") > 0


async def test_of_many_classes_the_frequent_ones() -> None:
    lines = await page(app(MANY), (80, 24))
    (told,) = [line for line in lines if line.startswith("│   40000 ")]
    assert told.split()[1:4] == ["40000", "10", "%"]
    (answer,) = [line for line in lines if line.startswith("│   3 ")]
    # That class 3 is not among the labels told does not say that it never came.
    assert answer.split()[1:5] == ["3", "–", "100", "%"]
    assert any("and others, less often" in line for line in lines)


async def test_validation_stands_before_the_step() -> None:
    one = app(TERM)
    one.session.apply(Evaluation(30, 0.0, 5, criteria=(TERM,)))
    screen = "\n".join(await page(one, (160, 48)))
    assert "validation after step 30  5 batches" in screen
    what = "labels and answers of the"
    assert screen.index(f"{what} validation") < screen.index(f"{what} step")


async def test_without_terms_it_says_why() -> None:
    assert any("no loss function was called in this step" in line for line in await page(app(), (80, 24)))
