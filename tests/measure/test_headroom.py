"""Growth and what follows from it."""

from __future__ import annotations

import math
import random

import pytest

from proxy.measure.headroom import Growth, added, daily, growth, weeks_left
from proxy.measure.history import Part
from proxy.measure.spans import DAY, HOUR


def days(count: int, a_week: float, noise: float = 0.0) -> list[tuple[int, float]]:
    chance = random.Random(1)
    return [(day, math.exp(a_week * day / 7 + chance.gauss(0, noise))) for day in range(count)]


def test_too_few_days_say_nothing() -> None:
    assert growth(days(13, 0.1)) is None


@pytest.mark.parametrize("a_week", [-0.05, 0.0, 0.1])
def test_growth_is_found_through_noise(a_week: float) -> None:
    found = growth(days(60, a_week, 0.1))
    assert found is not None
    assert found.low < a_week < found.high
    assert found.high - found.low < 0.05


def test_the_interval_holds_four_times_in_five() -> None:
    inside = 0
    for seed in range(200):
        chance = random.Random(seed)
        found = growth([(day, math.exp(0.05 * day / 7 + chance.gauss(0, 0.2))) for day in range(30)])
        assert found is not None
        inside += found.low <= 0.05 <= found.high
    assert 145 <= inside <= 175


@pytest.mark.parametrize(
    ("load", "how", "expected"),
    [
        (1.0, Growth(math.log(2) / 10, math.log(2) / 20, math.log(2) / 5, 30), (20.0, 10.0, 40.0)),
        (4.0, Growth(0.1, 0.0, 0.2, 30), (0.0, 0.0, 0.0)),
        (1.0, Growth(0.1, -0.1, 0.2, 30), (13.9, 6.9, None)),
        (1.0, Growth(-0.1, -0.2, -0.05, 30), (None, None, None)),
    ],
)
def test_weeks_left(load: float, how: Growth, expected: tuple[float | None, ...]) -> None:
    weeks = weeks_left(load, 4.0, how)
    found = [None if each is None else round(each, 1) for each in (weeks.expected, weeks.soonest, weeks.latest)]
    assert found == list(expected)


def test_what_a_step_adds() -> None:
    how = Growth(math.log(2) / 10, 0, 1, 30)
    assert added(2.0, 1.0, 4.0, how) == pytest.approx(10)
    assert added(2.0, 2.0, 4.0, how) is None  # nothing is left
    assert added(2.0, 1.0, 4.0, None) is None
    assert added(2.0, 1.0, 4.0, Growth(-0.1, -1, 0, 30)) is None


def test_days_are_put_together_from_whatever_parts_there_are() -> None:
    parts = [
        Part(DAY, 0, {"main": 5.0}),
        Part(DAY, DAY, {"main": DAY * 2.0}),
        *(Part(HOUR, 2 * DAY + n * HOUR, {"main": HOUR * 2.0, "media": 60.0}) for n in range(12)),
        Part(60, 3 * DAY, {"main": 60.0}),
    ]
    assert daily(parts) == {"main": [(1, 2.0), (2, 1.0)], "media": [(2, 12 * 60 / DAY)]}
