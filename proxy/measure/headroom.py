"""How long a server will do, from how its load has grown. Pure.

Growth is taken to be exponential: a line through the logarithms of the days' loads, with the interval in which four of
five such lines would be (Student's t). Below MIN_DAYS nothing is said.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from proxy.measure.history import Part
from proxy.measure.spans import DAY

MIN_DAYS = 14
FAR_WEEKS = 520.0  # "ten years or more"
_T80 = ((5, 1.48), (10, 1.37), (20, 1.33), (1 << 30, 1.30))  # two-sided 80 %, by degrees of freedom up to


@dataclass(frozen=True, slots=True)
class Growth:
    """Of a load, as the exponent a week (0.1: by about 10 % a week), and the interval that it is in."""

    a_week: float
    low: float
    high: float
    days: int


@dataclass(frozen=True, slots=True)
class Weeks:
    """Until a load reaches a capacity; None: it does not, or not within ten years."""

    expected: float | None
    soonest: float | None
    latest: float | None


def daily(parts: Iterable[Part]) -> dict[str, list[tuple[int, float]]]:
    """By cluster: each day's mean load. The first and the last day are not whole; idle hours have no part."""
    busy: dict[tuple[str, int], float] = {}
    days: set[int] = set()
    for part in parts:
        day = part.start // DAY
        days.add(day)
        for cluster, busy_s in part.busy_s.items():
            busy[cluster, day] = busy.get((cluster, day), 0.0) + busy_s
    whole = sorted(days)[1:-1]
    return {
        cluster: [(day, busy[cluster, day] / DAY) for day in whole if busy.get((cluster, day))]
        for cluster in sorted({cluster for cluster, _ in busy})
    }


def growth(days: Sequence[tuple[int, float]]) -> Growth | None:
    """None where there are too few days to say."""
    if len(days) < MIN_DAYS:
        return None
    n = len(days)
    xs = [day / 7 for day, _ in days]
    ys = [math.log(load) for _, load in days]
    x_mean, y_mean = sum(xs) / n, sum(ys) / n
    spread = sum((x - x_mean) ** 2 for x in xs)
    slope = sum((x - x_mean) * (y - y_mean) for x, y in zip(xs, ys)) / spread
    rest = sum((y - y_mean - slope * (x - x_mean)) ** 2 for x, y in zip(xs, ys))
    error = math.sqrt(rest / (n - 2) / spread)
    width = error * next(t for limit, t in _T80 if n - 2 <= limit)
    return Growth(slope, slope - width, slope + width, n)


def weeks_left(load: float, capacity: float, how: Growth) -> Weeks:
    """Until `load` has grown to `capacity`."""
    return Weeks(_weeks(load, capacity, how.a_week), _weeks(load, capacity, how.high), _weeks(load, capacity, how.low))


def _weeks(load: float, capacity: float, a_week: float) -> float | None:
    if load >= capacity:
        return 0.0
    if a_week <= 0 or load <= 0:
        return None
    weeks = math.log(capacity / load) / a_week
    return weeks if weeks < FAR_WEEKS else None


def added(load: float, less: float, capacity: float, how: Growth | None) -> float | None:
    """The weeks that taking `less` off a load adds; None where that is not known, or without end."""
    if how is None or load - less <= 0:
        return None
    before, after = _weeks(load, capacity, how.a_week), _weeks(load - less, capacity, how.a_week)
    return after - before if before is not None and after is not None else None
