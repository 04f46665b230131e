"""Lines for a person: what clipping and a gradient scaler did."""

from __future__ import annotations

from dataclasses import replace

from agent_double import HELLO, LAYOUT

from tuimon.cli.lines import text_lines
from tuimon.records.sample import Sample
from tuimon.session.change import Sampled
from tuimon.session.session import Session
from tuimon.tui.model.plot import plots

SAMPLE = Sample(index=1, step=1, time_s=0.0, layout=LAYOUT.id, loss=1.0, lr=(0.1,), grad_norm=1.0)


def told(session: Session, sample: Sample) -> str:
    (change,) = [c for c in session.apply(sample) if isinstance(c, Sampled)]
    (line,) = text_lines(session, change)
    return line


def session() -> Session:
    made = Session(rules=())
    made.apply(HELLO)
    made.apply(LAYOUT)
    return made


def test_how_often_clipping_shortens_the_gradient() -> None:
    run = session()
    line = told(run, replace(SAMPLE, grad_norm_preclip=1.0))
    assert "clip" not in line
    assert plots(run.history)[2].title == "gradient norm"
    line = told(run, replace(SAMPLE, index=2, step=2, grad_norm_preclip=4.0))
    assert "gradient norm 1 (before clipping 4), clipped in 50 % of steps  " in line
    norm = plots(run.history)[2]
    assert (norm.title, norm.foot) == ("gradient norm", "clipped in 50 % of steps")


def test_the_loss_scale_and_the_steps_that_it_cost() -> None:
    run = session()
    assert "scale" not in told(run, SAMPLE)
    assert "loss scale" not in [plot.title for plot in plots(run.history)]
    line = told(run, replace(SAMPLE, index=2, step=2, loss_scale=65536.0, skipped=False))
    assert "  loss scale 65536  " in line
    assert "loss scale" in [plot.title for plot in plots(run.history)]
    line = told(run, replace(SAMPLE, index=3, step=2, grad_norm=None, loss_scale=65536.0, skipped=True))
    assert "gradient norm -  loss scale 65536  skipped: a gradient overflowed  " in line
    titles = [(plot.title, plot.foot) for plot in plots(run.history)]
    assert ("loss scale", "1 observed step skipped") in titles


def test_hundreds_of_equal_learning_rates_are_told_once() -> None:
    assert "  lr 0.1, 0.1  " in told(session(), replace(SAMPLE, lr=(0.1, 0.1)))
    assert "  lr 0.1, 0.2  " in told(session(), replace(SAMPLE, lr=(0.1,) * 300 + (0.2,) * 9))
