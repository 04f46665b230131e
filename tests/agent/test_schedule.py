"""The budget is kept: by laws, and on a clock that is simulated."""

from __future__ import annotations

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from tuimon.agent.pacing.schedule import (
    DEADBAND,
    FIRST_LOOK_S,
    FIRST_STEPS,
    FIRST_STEPS_LIMIT_S,
    SHARE_IN_DEBT,
    SHORTEST_INTERVAL_S,
    Schedule,
)

seconds = st.floats(1e-6, 10.0)
budgets = st.floats(1e-4, 1.0)
#: Observations that the first steps may take, and then those that fill both medians.
SETTLED = FIRST_STEPS + 16


def wanted(cost_s: float, step_s: float, budget: float) -> float:
    return max(cost_s / (budget * step_s), SHORTEST_INTERVAL_S / step_s, 1.0)


@settings(deadline=None)  # no timed assertions
@given(budgets, st.lists(st.tuples(seconds, st.none() | st.floats(0.0, 10.0)), max_size=60))
def test_at_least_one_step_lies_between_samples(
    budget: float, observed: list[tuple[float, float | None]]
) -> None:
    schedule = Schedule(budget)
    for cost_s, step_s in observed:
        every = schedule.observed(cost_s, step_s)
        assert isinstance(every, int)
        assert every >= 1
        assert every == schedule.every


@settings(deadline=None)  # no timed assertions
@given(st.integers(1, 1000), st.lists(st.tuples(seconds, seconds), max_size=40))
def test_a_fixed_cadence_is_obeyed_whatever_it_costs(every: int, observed: list[tuple[float, float]]) -> None:
    asked = Schedule(0.01)
    asked.ask(every, None)
    for schedule in (Schedule(0.01, every), asked):
        assert schedule.every == every
        assert {schedule.observed(*one) for one in observed} <= {every}


@settings(deadline=None)  # no timed assertions
@given(seconds, seconds, budgets)
def test_the_cadence_is_what_the_budget_allows(cost_s: float, step_s: float, budget: float) -> None:
    schedule = Schedule(budget)
    for _ in range(SETTLED):
        every = schedule.observed(cost_s, step_s)
    right = wanted(cost_s, step_s, budget)
    assert right <= every <= max(math.ceil(right), right * DEADBAND)
    assert cost_s / (every * step_s) <= budget * (1 + 1e-9) or right == 1.0


@settings(deadline=None)  # no timed assertions
@given(seconds, seconds, st.floats(1.0, 1.2))
def test_within_the_dead_band_the_cadence_does_not_flutter(cost_s: float, step_s: float, less: float) -> None:
    schedule = Schedule(0.01)
    for _ in range(SETTLED):
        every = schedule.observed(cost_s, step_s)
    # Rounding up to whole steps has used part of the band already.
    if every / DEADBAND > wanted(cost_s / less, step_s, 0.01):
        return
    assert {schedule.observed(cost_s / less, step_s) for _ in range(32)} == {every}


@settings(deadline=None)  # no timed assertions
@given(seconds, seconds, st.floats(2.0, 100.0))
def test_a_cost_that_changed_for_good_is_followed(cost_s: float, step_s: float, factor: float) -> None:
    schedule = Schedule(0.01)
    for cost in (cost_s, cost_s * factor, cost_s):
        for _ in range(SETTLED):
            every = schedule.observed(cost, step_s)
        right = wanted(cost, step_s, 0.01)
        assert right <= every <= max(math.ceil(right), right * DEADBAND)


def test_the_first_steps_are_all_looked_at() -> None:
    schedule = Schedule(0.01)
    every = [schedule.observed(1e-3, 1e-3) for _ in range(FIRST_STEPS)]
    assert every[:-1] == [1] * (FIRST_STEPS - 1)
    assert every[-1] == 100


def test_unless_they_take_too_long() -> None:
    schedule = Schedule(0.01)
    # The first one's cost says nothing about the next, the second one's ends it.
    assert schedule.observed(FIRST_STEPS_LIMIT_S / 2, 1.0) == 1
    assert schedule.observed(FIRST_STEPS_LIMIT_S / 2, 1.0) == math.ceil(FIRST_STEPS_LIMIT_S / 2 / 0.01)


def test_a_wish_for_a_budget_ends_a_fixed_cadence() -> None:
    schedule = Schedule(0.01, 7)
    for _ in range(SETTLED):
        schedule.observed(1e-3, 1e-3)
    schedule.ask(None, 0.5)
    assert (schedule.fixed, schedule.budget_ratio) == (None, 0.5)
    assert schedule.every == math.ceil(wanted(1e-3, 1e-3, 0.5))


@settings(deadline=None)  # no timed assertions
@given(st.floats(1e-5, 1e-2), st.floats(1e-4, 1e-1), st.floats(0.005, 0.1), st.integers(0, 2**16))
def test_the_budget_is_kept_on_a_simulated_clock(
    cost_s: float, step_s: float, budget: float, seed: int
) -> None:
    """Costs and steps vary by a tenth; watching stays within the budget, but for the first steps."""
    schedule, own_s, bare_s, until, since, state = Schedule(budget), 0.0, 0.0, 1, 0.0, seed + 1
    for i in range(30_000):
        state = state * 48271 % (2**31 - 1)
        vary = 0.9 + 0.2 * state / (2**31 - 1)
        bare_s += step_s * vary
        since += 1
        until -= 1
        if until == 0:
            until = schedule.observed(cost_s * vary, step_s * vary)
            own_s += cost_s * vary if i >= FIRST_STEPS + 1 else 0.0
    # Medians of sixteen draws may lie up to a tenth off on either side.
    assert own_s / bare_s <= budget * 1.1 / 0.9 or schedule.every == 1


@settings(deadline=None)  # no timed assertions
@given(seconds, seconds, budgets, st.floats(0.0, 2.0))
def test_one_that_joins_late_pays_its_entry_back(
    cost_s: float, step_s: float, budget: float, entry_s: float
) -> None:
    schedule = Schedule(budget, joins_late=True)
    schedule.owe(entry_s)
    now_s = spent_s = 0.0
    looks = 0
    while looks < 3 * SETTLED:
        spent_s += cost_s
        looks += 1
        now_s += schedule.observed(cost_s, step_s) * step_s
    first = FIRST_LOOK_S * budget + 2 * cost_s
    # Each look that follows is granted by the steps before the next one.
    assert spent_s <= first + budget * now_s * (1 + 1e-9)
    if schedule.debt_s:
        share = budget * SHARE_IN_DEBT
        right = max(cost_s / (share * step_s), SHORTEST_INTERVAL_S / step_s, 1.0)
        assert right <= schedule.every <= max(math.ceil(right), right * DEADBAND)


def test_the_first_minute_of_a_long_job_is_near_its_budget() -> None:
    # Steps of 0.4 s of which a look costs 20 ms, entered for 0.5 s.
    schedule = Schedule(0.01, joins_late=True)
    schedule.owe(0.5)
    now_s, spent_s, looks = 0.0, 0.5, []
    while now_s < 60.0:
        now_s += 0.4
        looks.append(now_s)
        spent_s += 0.02
        now_s += (schedule.observed(0.02, 0.4) - 1) * 0.4
    # The first ones at once, one after the other; then every fourth second.
    assert len([at_s for at_s in looks if at_s < 4.0]) == 8
    assert spent_s / 60.0 < 2 * 0.01
    # And in the long run it is the budget.
    while now_s < 3600.0:
        spent_s += 0.02
        now_s += schedule.observed(0.02, 0.4) * 0.4
    assert schedule.debt_s == 0.0
    assert spent_s / now_s < 0.0101
