"""The synthetic application, whose truth is known: what `turnout advise` says of it at each stage, and what following
that does to its servers."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from bench.synthetic import A_WEEK, ALONE, BASE, CAPACITY, TRUTH, State, advised, loads, sampled
from proxy.measure.advice import Advice, Technique
from proxy.measure.key_sketch import KeySketch
from tests.sizes import THOROUGH

MONTH = 26 / 6


@pytest.fixture(scope="module")
def hot() -> tuple[KeySketch, float]:
    return sampled(seconds=20)


def test_the_predicted_hit_rate_is_the_one_that_a_cache_has(hot: tuple[KeySketch, float]) -> None:
    sketch, true = hot
    assert sketch.hit_rate == pytest.approx(true, abs=0.05)


def techniques(advice: Advice) -> Mapping[str, Technique]:
    return {table: step.technique for step in advice.steps for table in step.tables}


@pytest.mark.parametrize("month", range(7) if THOROUGH else (0, 5))
def test_at_each_stage_the_right_technique_and_two_left_alone(month: int, hot: tuple[KeySketch, float]) -> None:
    sketch, true = hot
    state, week = State(BASE), month * MONTH
    advice = advised(state, week, sketch, true)
    found = techniques(advice)
    assert {table: found.get(table) for table in TRUTH} == TRUTH
    assert {one.table for one in advice.alone} >= set(ALONE)
    assert not found.keys() & set(ALONE)
    # What each takes off is what it then takes off, within a fifth.
    for step in advice.steps:
        before, after = loads(state, week, true)["main", "primary"], loads(state.done(step), week, true)
        off = before - after["main", "primary"]
        assert step.takes_off == pytest.approx(off, rel=0.2), step.what
    (server,) = advice.servers
    assert server.load == pytest.approx(before, rel=0.1)
    assert server.growth is not None
    assert server.growth.low <= A_WEEK * 1.1
    assert server.growth.high >= A_WEEK * 0.9
    assert {step.due for step in advice.steps} == {month >= 2}


@pytest.mark.thorough
def test_who_follows_the_advice_step_by_step_is_never_short(hot: tuple[KeySketch, float]) -> None:
    sketch, true = hot
    state, taken = State(BASE), []
    for month in range(7):
        week = month * MONTH
        assert max(loads(state, week, true).values()) < CAPACITY, (month, taken)
        due = [step for step in advised(state, week, sketch, true).steps if step.due]
        if due:  # one step a month
            taken.append(due[0].technique)
            state = state.done(due[0])
    assert max(loads(State(BASE), 6 * MONTH, true).values()) > CAPACITY, "nothing had to be done"
    assert taken == sorted(taken, key=list(Technique).index), "not the cheapest first"
    assert 2 <= len(taken) <= len(TRUTH), "more was done than was needed"
