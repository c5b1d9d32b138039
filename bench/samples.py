"""Measurements as values, and medians and spreads over rounds."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sample:
    """One sysbench run: `target` is direct, HAProxy, Turnout, ...; CPU per statement in microseconds.

    `proxy_user_us` and `proxy_system_us` are of all the proxy's processes (0 without a proxy), `server_us` of MariaDB.
    """

    round: int
    target: str
    workload: str
    clients: int
    queries: int
    queries_per_s: float
    p95_ms: float
    errors: int
    proxy_user_us: float
    proxy_system_us: float
    server_us: float

    @property
    def proxy_us(self) -> float:
        return self.proxy_user_us + self.proxy_system_us


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, lowest and highest of several measurements."""

    median: float
    low: float
    high: float
    count: int

    @staticmethod
    def of(values: Iterable[float]) -> Spread:
        found = list(values)
        return Spread(statistics.median(found), min(found), max(found), len(found))


def ratios(
    samples: Sequence[Sample], target: str, base: str, workload: str, clients: int, what: str, base_what: str = ""
) -> Spread | None:
    """`what` of `target` over that of `base` (or its `base_what`), round by round, so that a slow round slows both.
    None: unmeasured."""

    def by_round(name: str, attribute: str) -> dict[int, float]:
        return {
            sample.round: float(getattr(sample, attribute))
            for sample in samples
            if (sample.target, sample.workload, sample.clients) == (name, workload, clients)
        }

    above, below = by_round(target, what), by_round(base, base_what or what)
    found = [above[number] / below[number] for number in above if below.get(number)]
    return Spread.of(found) if found else None
