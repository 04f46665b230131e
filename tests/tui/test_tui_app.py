"""The monitor as a person meets it: what keys do, what is said, and that everything stays in its place."""

from __future__ import annotations

import dataclasses
import threading

import pytest
from textual.pilot import Pilot
from tui_fakes import DYING, HEALTHY_RUN, RULES, SICK_RULES, Clock, Quiet, app_of, events, session_of, shown

from tuimon.attach.events import Connected, Disconnected, Ended
from tuimon.records.criterion import Criterion, Evaluation
from tuimon.records.sample import Log, StepTimes
from tuimon.records.trial import Trial
from tuimon.session.session import Session
from tuimon.tui.app import MonitorApp
from tuimon.tui.look import Look, dark, light, mono
from tuimon.tui.model.plot import plots

SIZES = [(60, 16), (80, 24), (80, 60), (100, 30), (119, 40), (120, 30), (120, 40), (160, 48), (230, 70)]


def sick(samples: int = 400, look: Look | None = None) -> MonitorApp:
    clock = Clock()
    return app_of(session_of(events(DYING, samples), SICK_RULES, clock), clock, look)


def healthy(samples: int = 200) -> MonitorApp:
    clock = Clock()
    return app_of(session_of(events(HEALTHY_RUN, samples), RULES, clock), clock)


async def text(pilot: Pilot[None]) -> str:
    await pilot.pause()
    app = pilot.app
    assert isinstance(app, MonitorApp)
    return "\n".join(shown(app))


@pytest.mark.parametrize(
    ("size", "look"),
    [*((size, dark()) for size in SIZES), ((80, 24), mono()), ((120, 40), light()), *(
        (size, dark(ascii=True)) for size in ((60, 16), (160, 48))
    )],
)  # fmt: skip
async def test_every_line_is_exactly_as_wide_as_the_terminal(size: tuple[int, int], look: Look) -> None:
    app = sick(120, look)
    async with app.run_test(size=size) as pilot:
        for keys in ((), ("f",), ("d", "l", "h"), ("t",), ("question_mark",), ("escape", "e")):
            await pilot.press(*keys)
            await pilot.pause()
            lines = shown(app)
            assert len(lines) == size[1]
            assert {len(line) for line in lines} == {size[0]}
            if look.ascii:
                assert all(line.isascii() for line in lines)
            else:
                # Frames are closed: as many left corners as right ones, above and below.
                whole = "".join(lines)
                assert len({whole.count(corner) for corner in "╭╮╯╰"}) == 1


@pytest.mark.parametrize("size", [(80, 24), (160, 48)])
async def test_the_overview_answers_the_four_questions(size: tuple[int, int]) -> None:
    async with sick().run_test(size=size) as pilot:
        screen = await text(pilot)
    for word in (
        "train.py", "step 1 597", "● live", "watching costs 0.6 %", "loss", "3.055", "critical dead neurons",
        "since step 900", "blocks.5.mlp.act", "1 critical", "1 info", "gradient", "62 %", "data wait",
        "? help",
    ):  # fmt: skip
        assert word in screen, word


@pytest.mark.parametrize("size", [(59, 24), (80, 15), (20, 5), (3, 1)])
async def test_a_terminal_too_small_is_told_in_one_line(size: tuple[int, int]) -> None:
    app = sick(20)
    app.session.apply(Disconnected("the connection ended", 1.6))
    async with app.run_test(size=size) as pilot:
        lines = (await text(pilot)).split("\n")
        told = lines[0].strip().rstrip("…")
        assert told in f"tuimon needs a terminal of 60x16 at least; this one is {size[0]}x{size[1]}"
        assert not "".join(lines[1:]).strip()
        await pilot.resize_terminal(80, 24)
        assert "◌ reconnecting" in await text(pilot)


@pytest.mark.parametrize(
    ("key", "label"),
    [("g", "gradient"), ("u", "update"), ("a", "activation"), ("d", "dead"), ("w", "weight")],
)
async def test_a_letter_chooses_what_the_heat_map_shows(key: str, label: str) -> None:
    app = healthy()
    async with app.run_test(size=(160, 48)) as pilot:
        await pilot.press(key)
        assert app.view.metric.label == label
        await pilot.press("end")
        assert f"head · {label} " in await text(pilot)


async def test_arrows_and_letters_move_through_layers_and_time() -> None:
    app = healthy()
    async with app.run_test(size=(160, 48)) as pilot:
        assert "▸  embed.token" in await text(pilot)
        await pilot.press("down", "j", "k", "j")
        assert "▸  blocks.0 +7" in await text(pilot)
        await pilot.press("left", "h")
        screen = await text(pilot)
        assert app.view.moment is not None
        assert app.view.moment < HEALTHY_RUN.every * 199 + 1
        charts, _, layers = screen.partition("layers × time")
        assert "┊" in charts
        assert "┊" in layers
        await pilot.press("right", "l", "l")
        assert app.view.moment is None
        await pilot.press("end")
        assert "▸  head" in await text(pilot)
        await pilot.press("escape", "escape")
        assert "▸  embed.token" in await text(pilot)


async def test_the_moment_looked_at_is_shown_by_the_charts() -> None:
    app = healthy()
    async with app.run_test(size=(160, 48)) as pilot:
        await pilot.press(*["left"] * 9)
        moment = app.view.moment
        assert moment is not None
        loss = app.session.history.scalar("loss")
        at = int((loss.steps <= moment).sum()) - 1
        assert f" {loss.values[at]:.3f} " in await text(pilot)


async def test_space_folds_and_unfolds_a_block_and_f_all() -> None:
    app = healthy()
    async with app.run_test(size=(160, 48)) as pilot:
        await pilot.press("down", "down", "space")
        screen = await text(pilot)
        assert "blocks.0.attn.qkv" in screen
        assert "blocks.1 +7" in screen
        await pilot.press("space")
        assert "blocks.0 +7" in await text(pilot)
        await pilot.press("f")
        assert "+7" not in await text(pilot)
        await pilot.press("f")
        assert "blocks.7 +7" in await text(pilot)


async def test_slash_filters_by_regular_expression() -> None:
    app = healthy()
    async with app.run_test(size=(160, 48)) as pilot:
        await pilot.press("slash", *"q$|hea")
        assert app.view.filter is not None
        screen = await text(pilot)
        assert "/q$|hea" in screen
        assert "▸  head" in screen
        assert "embed" not in screen
        await pilot.press("enter")
        assert "filter /q$|hea/" in await text(pilot)
        await pilot.press("escape")
        assert "embed.token" in await text(pilot)
        await pilot.press("slash", *"zz")
        assert "no layer matches the filter" in await text(pilot)
        await pilot.press("backspace", "backspace", "left_square_bracket")
        assert "not a regular expression" in await text(pilot)
        await pilot.press("escape")
        assert app.view.filter is None


async def test_while_a_filter_is_typed_letters_are_letters() -> None:
    app = healthy()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("slash", "q", "d")
        assert app.is_running
        assert app.view.metric.key == "g"


async def test_enter_opens_the_sick_layer_and_escape_comes_back() -> None:
    app = sick()
    async with app.run_test(size=(160, 48)) as pilot:
        await pilot.press("enter")
        screen = await text(pilot)
        assert "gradient at the output" in screen
        assert "zeros 81 %" in screen
        await pilot.press("escape")
        assert "layers × time" in await text(pilot)
        await pilot.press("home", "down", "down", "enter")
        assert "blocks.0.norm1" in await text(pilot)


async def test_n_goes_to_the_next_alert_and_its_layer() -> None:
    app = sick()
    async with app.run_test(size=(160, 48)) as pilot:
        assert "▸✖ blocks.5.mlp.act" in await text(pilot)
        await pilot.press("n")
        screen = await text(pilot)
        assert "▸• embed.position" in screen
        assert "▸ • info param not updated" in screen


async def test_e_tells_all_that_is_known_of_the_alerts() -> None:
    app = sick()
    async with app.run_test(size=(160, 48)) as pilot:
        await pilot.press("e")
        screen = await text(pilot)
        abstention = "not judged: the learning rate lies on the device"
        for words in ("below 0.25", "warm it up", abstention, "firing"):
            assert words in screen


async def test_c_and_y_choose_chart_and_scale() -> None:
    app = healthy()
    app.session.apply(Log(801, 0.0, {"accuracy": 0.5}))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("y")
        assert "loss, log" in await text(pilot)
        await pilot.press("y")
        assert "loss, log" not in await text(pilot)
        titles = []
        for _ in range(5):
            await pilot.press("c")
            titles.append((await text(pilot)).split("\n")[1].strip("╭─ ").split(" ─")[0])
        assert titles == ["learning rate", "gradient norm, log", "step time", "accuracy", "loss"]


async def test_a_validation_loss_stands_beside_the_loss() -> None:
    app = healthy()
    app.session.apply(Log(801, 0.0, {"val_loss": 2.5}))
    async with app.run_test(size=(160, 48)) as pilot:
        screen = await text(pilot)
    assert "─ train" in screen
    assert "─ val_loss" in screen


@pytest.mark.parametrize("size", [(80, 24), (160, 48)])
async def test_validation_and_accuracy_that_were_seen_stand_at_the_loss(size: tuple[int, int]) -> None:
    app = healthy()
    right = Criterion("cross_entropy", 2.5, n=8, judged=8, correct=6)
    last = HEALTHY_RUN.sample(
        401, microbatches=4, loss_scale=1024.0, criteria=(dataclasses.replace(right, correct=4),)
    )
    for event in (*(Evaluation(step, 0.0, 4, criteria=(right,)) for step in (401, 801)), last):
        app.session.apply(event)
    async with app.run_test(size=size) as pilot:
        screen = await text(pilot)
        assert "─ val 2.500" in screen
        assert "loss, mean of 4" in screen
        assert "accuracy 50 % · val 75 %" in screen
        # What the training says itself goes before what was seen of it.
        app.session.apply(Log(801, 0.0, {"val_loss": 3.5}))
        await pilot.press("c", *"c" * (len(plots(app.session.history)) - 1))
        assert "─ val_loss 3.500" in await text(pilot)


async def test_the_header_says_what_watching_was_measured_to_cost() -> None:
    app = healthy()
    trial = Trial(801, 0.0, 7, 40, 25, 1, 1.02)
    app.session.apply(trial)
    async with app.run_test(size=(160, 48)) as pilot:
        assert "measuring 7/40" in (await text(pilot)).splitlines()[0]
        app.session.apply(dataclasses.replace(trial, ratio=1.008, low=0.997, high=1.013, done=True))
        await pilot.press("t")
        head = (await text(pilot)).splitlines()[0]
        assert "watching costs +0.8 % · measured -0.3 to +1.3 %" in head


async def test_what_was_not_measured_is_drawn_as_such() -> None:
    clock, session = Clock(), Session(RULES, Clock())
    for event in (Connected(), HEALTHY_RUN.hello, HEALTHY_RUN.layout):
        session.apply(event)
    for index in range(1, 30):
        session.apply(HEALTHY_RUN.sample(
            index, loss=None, lr=(None,), grad_norm=None, grad_norm_preclip=None, step_s=None, rss_bytes=None,
            cuda_bytes=None, overhead_ratio=None, times=StepTimes(forward_s=0.01),
        ))  # fmt: skip
    async with app_of(session, clock).run_test(size=(160, 48)) as pilot:
        screen = await text(pilot)
    for words in ("loss not measured yet", "– it/s", "watching costs –", "data wait –", "RSS –"):
        assert words in screen, words
    assert "NaN" not in screen


async def test_a_loss_that_is_nan_is_said_to_be() -> None:
    app = healthy(60)
    app.session.apply(HEALTHY_RUN.sample(61, loss=float("nan")))
    async with app.run_test(size=(160, 48)) as pilot:
        screen = await text(pilot)
    assert "NaN" in screen.split("\n")[1]
    assert "×" in screen.split("layers × time")[0]


async def test_a_training_that_hangs_has_a_line_of_its_own() -> None:
    app = sick()
    clock = app.view.clock
    assert isinstance(clock, Clock)
    app.session.apply(Connected())
    async with app.run_test(size=(160, 48)) as pilot:
        app.paint()
        assert "no observed step" not in await text(pilot)
        clock.now_s += 600
        app.paint()
        screen = await text(pilot)
    assert "no observed step for 10 min (usually" in screen
    assert "`tuimon doctor 4711` shows where" in screen


async def test_states_have_words_and_the_picture_stays() -> None:
    app = sick()
    clock = app.view.clock
    assert isinstance(clock, Clock)
    async with app.run_test(size=(160, 48)) as pilot:
        clock.now_s += 12
        app.paint()
        assert "live, silent for 12 s" in await text(pilot)
        app.session.apply(Disconnected("the connection ended", 1.6))
        app.paint()
        screen = await text(pilot)
        assert "◌ reconnecting: the connection ended · trying again · the picture is 12 s old" in screen
        assert "3.055" in screen
        app.session.apply(Connected())
        app.paint()
        assert "reconnecting" not in await text(pilot)
        app.session.apply(Ended("finished"))
        app.paint()
        assert "■ ended finished · this is the last picture at step 1 597" in await text(pilot)
        app.paint()
        assert "3.055" in await text(pilot)


async def test_nothing_is_invented_before_the_first_step() -> None:
    clock = Clock()
    async with app_of(Session(RULES, clock), clock).run_test(size=(160, 48)) as pilot:
        screen = await text(pilot)
    for words in ("4711", "○ connecting", "waiting for the first step", "waiting for the layers' names"):
        assert words in screen, words
    assert "0 %" not in screen


async def test_events_from_another_thread_reach_the_screen_in_order() -> None:
    # They are of the past, of which nothing is dropped however far the screen lags behind.
    clock = Clock(HEALTHY_RUN.sample(120).time_s + 1.0)
    sources: list[Quiet] = []

    def open_source(deliver: object) -> Quiet:
        sources.append(Quiet(deliver))  # type: ignore[arg-type]
        return sources[0]

    session = Session(RULES, clock)
    app = MonitorApp(open_source, "4711", session=session, look=dark(), clock=clock, paint_s=0.0)
    async with app.run_test(size=(80, 24)) as pilot:
        while not sources[0].started:
            await pilot.pause()
        thread = threading.Thread(target=lambda: [sources[0].deliver(e) for e in events(HEALTHY_RUN, 120)])
        thread.start()
        while app.session.samples < 120:
            await pilot.pause()
        thread.join()
        await pilot.pause()
        assert app.session.samples == 120
        assert "step 477" in await text(pilot)
        await pilot.press("q")
    assert sources[0].stopped


async def test_a_name_from_outside_cannot_break_the_screen() -> None:
    clock = Clock()
    session = Session(RULES, clock)
    hello = dataclasses.replace(HEALTHY_RUN.hello, name="evil\x1b[2J\nname" + "漢" * 40)
    for event in (Connected(), hello, HEALTHY_RUN.layout, *HEALTHY_RUN.samples(9)):
        session.apply(event)
    app = app_of(session, clock)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await text(pilot)
        assert "\x1b" not in screen
        widths = {strip.cell_length for strip in app.screen._compositor.render_strips()}
        assert widths == {80}


async def test_the_mouse_chooses_a_row_and_a_moment() -> None:
    app = healthy()
    async with app.run_test(size=(160, 48)) as pilot:
        lines = (await text(pilot)).split("\n")
        y = next(i for i, line in enumerate(lines) if "blocks.3" in line)
        await pilot.click(offset=(40, y))
        assert "▸  blocks.3" in await text(pilot)
        assert app.view.moment is not None
