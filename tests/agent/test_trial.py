"""The A/B in the live process: which steps are watched, and what their times are summed up to."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from contextlib import nullcontext
from statistics import median

import pytest
import torch
from observing import Observed, observing
from stepping import step
from torch import nn

from tuimon.agent.pacing.schedule import FIRST_STEPS, Schedule
from tuimon.agent.pacing.trial import CONFIDENCE, Alternation, interval
from tuimon.records.trial import Trial
from tuimon.wire.commands import Cadence, Measure

#: What a step takes by the clock here, and what observing it takes; powers of two, so that sums are exact.
STEP_S, LOOK_S = 2.0**-6, 2.0**-9


class Time:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Time:
    time = Time()
    for module in ("agent", "pacing.pace"):
        monkeypatch.setattr(f"tuimon.agent.{module}.clock", time)
    return time


def trials(seen: Observed) -> list[Trial]:
    return [record for record in seen.records if isinstance(record, Trial)]


def alternate(
    clock: Time, command: Measure, every: int, then: Callable[[Observed, int], None] = lambda seen, i: None
) -> tuple[Observed, list[bool]]:
    """A training that is asked to measure; and of each step after that whether it was observed."""
    model = nn.Linear(4, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    observed: list[bool] = []
    with observing(model, (optimizer,), every=every) as seen:
        for _ in range(2 * every):
            clock.now_s += STEP_S
            step(model, optimizer)
        seen.agent.commands.append(command)
        clock.now_s += STEP_S
        step(model, optimizer)
        while not (trials(seen) and trials(seen)[-1].done):
            observed.append(seen.agent.window.armed)
            then(seen, len(observed))
            clock.now_s += STEP_S + (LOOK_S if observed[-1] else 0.0)
            step(model, optimizer)
        after = [seen.agent.window.armed]
        for _ in range(2 * every):
            step(model, optimizer)
            after.append(seen.agent.window.armed)
    assert any(after), "it goes on as usual"
    return seen, observed


@pytest.mark.parametrize("every", [1, 4])
def test_blocks_are_watched_and_bare_in_turns(clock: Time, every: int) -> None:
    seen, observed = alternate(clock, Measure(pairs=6, token="me"), every)
    last = trials(seen)[-1]
    n = last.block_steps
    assert n == 16  # a quarter of a second
    blocks = [observed[start : start + n] for start in range(0, len(observed), n)]
    watched = [i % every == 0 for i in range(n)]
    bare = [False] * n
    assert blocks == 3 * [watched, bare, bare, watched]
    assert (last.watched_step_s, last.bare_step_s) == (STEP_S + LOOK_S / every, STEP_S)
    assert (last.pairs, last.wanted, last.every, last.asked, last.stopped) == (6, 6, every, ("me",), None)
    assert last.low == last.ratio == last.high == 1 + LOOK_S / STEP_S / every
    assert last.confidence == 1 - 2 / 2**6
    assert [(trial.pairs, trial.done) for trial in trials(seen)] == [(i, i == 6) for i in range(7)]
    # A sample of each observed step: what is measured is what watching usually does.
    assert len([sample for sample in seen.samples if sample.time_s]) >= sum(observed)


def test_it_waits_until_the_beginning_is_over_in_which_every_step_is_observed() -> None:
    model = nn.Linear(4, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with observing(model, (optimizer,), every=None) as seen:
        seen.agent.commands.append(Measure(pairs=1))
        for _ in range(100_000):
            if trials(seen):
                break
            step(model, optimizer)
        assert len(seen.samples) == FIRST_STEPS
        assert trials(seen)[0].every == seen.agent.schedule.every > 1


def test_the_cadence_that_is_measured_is_that_of_one_who_owes_nothing() -> None:
    late = Schedule(0.01, joins_late=True)
    late.owe(100.0)
    assert late.settled_every is None
    late.observed(1.0, None)
    assert late.settled_every is None  # what the first look cost says nothing about the others
    for _ in range(30):
        late.observed(0.010, 0.010)
    prompt = Schedule(0.01)
    for _ in range(30):
        prompt.observed(0.010, 0.010)
    assert late.every == 2 * prompt.every
    assert late.settled_every == prompt.settled_every == prompt.every == 100
    assert Schedule(0.01, 5).settled_every == 5


def test_the_training_computes_what_it_computes_alone() -> None:
    def trained(measure: bool) -> list[torch.Tensor]:
        torch.manual_seed(1)
        model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 2))
        optimizer = torch.optim.Adam(model.parameters())
        with observing(model, (optimizer,), every=2) if measure else nullcontext() as seen:
            for i in range(200):
                if seen is not None and i == 5:
                    seen.agent.commands.append(Measure(pairs=1))
                step(model, optimizer)
        if seen is not None:
            assert trials(seen)
        return [*model.parameters(), torch.get_rng_state()]

    assert all(torch.equal(a, b) for a, b in zip(trained(True), trained(False), strict=True))


def test_another_cadence_ends_it(clock: Time) -> None:
    def meddle(seen: Observed, i: int) -> None:
        if i == 60:
            seen.agent.commands.append(Cadence(every=3))

    seen, observed = alternate(clock, Measure(pairs=6), 1, meddle)
    assert (trials(seen)[-1].stopped, trials(seen)[-1].pairs) == ("the cadence was changed", 1)
    assert len(observed) == 60


def test_who_asks_meanwhile_gets_the_same(clock: Time) -> None:
    def ask(seen: Observed, i: int) -> None:
        if i == 10:
            seen.agent.commands.append(Measure(pairs=20, token="two"))

    seen, _ = alternate(clock, Measure(pairs=2, token="one"), 1, ask)
    assert (trials(seen)[-1].asked, trials(seen)[-1].pairs) == (("one", "two"), 2)


def test_a_measurement_may_bring_its_cadence(clock: Time) -> None:
    seen, observed = alternate(clock, Measure(every=2, pairs=1), 1)
    assert trials(seen)[-1].every == 2
    assert observed[:4] == [True, False, True, False]


@pytest.mark.parametrize("n", [0, 1, 5, 6, 20, 40, 101])
def test_the_interval_holds_the_median_as_often_as_it_says(n: int) -> None:
    values = list(range(n))
    low, high, confidence = interval(values)
    if n < 6:
        assert (low, high, confidence) == (None, None, None)
        return
    assert low is not None and high is not None and confidence is not None
    assert low + high == n - 1 and low < median(values) < high
    # The true median lies outside when so many of n tosses show heads, or tails.
    k = int(low)
    tail = sum(math.comb(n, i) for i in range(k + 1)) / 2**n
    assert confidence == pytest.approx(1 - 2 * tail) and confidence >= CONFIDENCE
    # One narrower would not do.
    assert 1 - 2 * (tail + math.comb(n, k + 1) / 2**n) < CONFIDENCE


def test_few_odd_blocks_do_not_move_the_result() -> None:
    noise = random.Random(1)
    alternation, now_s = Alternation(40), 0.0
    alternation.settle(1, 0.01)
    alternation.stepped(now_s)
    while (watched := alternation.next) is not None:
        alternation.begin(now_s)
        stalled = 5.0 if noise.random() < 0.05 else 0.0
        step_s = (1.02 if watched else 1.0) * 0.01 * noise.uniform(0.99, 1.01)
        now_s += alternation.block_steps * step_s + stalled
        while not alternation.stepped(now_s):
            pass
    trial = alternation.result(1)
    assert trial.low is not None and trial.high is not None and trial.ratio is not None
    assert trial.low < 1.02 < trial.high
    # None of the pairs that stalled, 5 s or more in a quarter of a second, is among those at its ends.
    assert trial.low >= 1.02 * 0.99 / 1.01
    assert trial.high <= 1.02 * 1.01 / 0.99
