"""What the cache's benchmark makes of samples, and its accounting of reads by Turnout's own counters."""

from __future__ import annotations

from collections import Counter
from typing import cast

import pytest

from bench import cached
from bench.cached import HITS, MISSES, REMOTE_HITS, CacheSample, NotCounted, counters
from bench.cached_topology import LOCAL, REMOTE, UNCACHED
from bench.report import Results, budgets, markdown
from bench.tables import Budget
from tests.servers import Turnout

READS = 1000
METRICS = """\
# TYPE turnout_cache_hits_total counter
turnout_cache_hits_total{by="id",memory="local",table="cached.sbtest1"} 70.0
turnout_cache_hits_total{by="id",memory="memcached",table="cached.sbtest1"} 5.0
turnout_cache_hits_total{by="id",memory="local",table="cached.written"} 2.0
# TYPE turnout_cache_misses_total counter
turnout_cache_misses_total{by="id",table="cached.sbtest1"} 20.0
# TYPE turnout_cache_bypassed_total counter
turnout_cache_bypassed_total{by="id",reason="in-transaction",table="cached.sbtest1"} 2.0
turnout_cache_bypassed_total{by="id",reason="no-stream",table="cached.sbtest1"} 1.0
# TYPE turnout_cache_refused_total counter
turnout_cache_refused_total{by="id",reason="written",table="cached.sbtest1"} 6.0
# TYPE turnout_cache_fills_total counter
turnout_cache_fills_total{by="id",table="cached.sbtest1"} 19.0
"""


class Proxy:
    """A Turnout of which nothing but its metrics is asked."""

    def get(self, path: str) -> tuple[int, str]:
        assert path == "/metrics"
        return 200, METRICS


PROXY = cast(Turnout, Proxy())


def sample(
    target: str, load: str, per_s: float, proxy_us: float, *, number: int = 0, server_us: float = 60.0, **counted: int
) -> CacheSample:
    system_us = proxy_us / 4
    return CacheSample(
        number,
        target,
        load,
        8,
        READS,
        per_s,
        0.5,
        0,
        proxy_us - system_us,
        system_us,
        server_us,
        reads=READS,
        **counted,
    )


def found(*samples: CacheSample) -> list[Budget]:
    results = Results([], "", [], cache_settings="Five rounds.", cache_samples=samples)
    return [each for each in budgets(results) if "read" in each.what and "slow reader" not in each.what]


def test_cache_budgets_at_their_limits_are_met_and_above_are_not() -> None:
    base = [sample("direct", HITS, 100, 0), sample(UNCACHED, MISSES, 90, 40)]
    at_limit = found(
        *base,
        sample(LOCAL, HITS, 200, 30, hits_local=990),
        sample(LOCAL, MISSES, 80, 50, misses=1000),
        sample(REMOTE, MISSES, 80, 50, misses=1000),
    )
    assert [(each.found, each.met) for each in at_limit] == [
        ("2.00 x", True),
        ("0.50 x", True),
        ("1.25 x", True),
        ("1.25 x", True),
    ]
    over = found(
        *base,
        sample(LOCAL, HITS, 199, 30.1, hits_local=1000),
        sample(LOCAL, MISSES, 80, 50.1, misses=1000),
        sample(REMOTE, MISSES, 80, 50.1, misses=1000),
    )
    assert [each.met for each in over] == [False] * 4


def test_cache_budgets_are_not_met_by_reads_that_were_something_else() -> None:
    """One round with fewer hits than 99 %, or fewer misses, is enough."""
    samples = [
        *(sample("direct", HITS, 100, 0, number=number) for number in range(2)),
        *(sample(UNCACHED, MISSES, 90, 40, number=number) for number in range(2)),
        sample(LOCAL, HITS, 300, 10, hits_local=1000),
        sample(LOCAL, HITS, 300, 10, number=1, hits_local=989, hits_memcached=11),
        sample(LOCAL, MISSES, 90, 40, misses=1000),
        sample(LOCAL, MISSES, 90, 40, number=1, hits_local=11, misses=989),
        sample(REMOTE, MISSES, 90, 40, misses=1000),
    ]
    assert [each.met for each in found(*samples)] == [False, False, False, True]
    text = markdown(Results([], "", [], cache_settings="Two rounds.", cache_samples=samples))
    assert f"only 98.9 % of round 2 of {HITS!r} through {LOCAL}; 98.9 % of round 2 of {MISSES!r}" in text


def test_without_cache_samples_there_is_nothing_about_it() -> None:
    assert found() == []
    assert "## Cache" not in markdown(Results([], "", []))


def test_cache_table() -> None:
    text = markdown(
        Results(
            [],
            "",
            [],
            cache_settings="One round.",
            cache_samples=[
                sample(REMOTE, REMOTE_HITS, 150, 20, hits_local=40, hits_memcached=955, misses=5, refused=3),
                sample(UNCACHED, REMOTE_HITS, 50, 40),
                sample("direct", REMOTE_HITS, 100, 0),
            ],
        )
    )
    lines = text[text.index("## Cache") :].splitlines()
    assert lines[2] == "One round."
    assert "Not what was meant" not in text
    assert lines[-3:] == [
        f"| {REMOTE_HITS} | 8 | direct | 100 |  |  | 0.50 |  |  |  |  | 60.0 |  |  |  |  |  |",
        f"| {REMOTE_HITS} | 8 | {UNCACHED} | 50.0 | 0.50 |  | 0.50 | 40.0 | 30.0 | 10.0 | 0.67 | 60.0 |  |  |  |  |  |",
        f"| {REMOTE_HITS} | 8 | {REMOTE} | 150 | 1.50 | 3.00 | 0.50 | 20.0 | 15.0 | 5.00 | 0.33 | 60.0 | 0.00 "
        "| 4.0 | 95.5 | 0.5 | 0.3 |",
    ]


def test_counters_are_added_up_over_classes_and_reasons() -> None:
    assert counters(PROXY) == Counter(hits_local=72, hits_memcached=5, misses=20, bypassed=3, refused=6)


def test_every_read_has_to_be_accounted_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cached, "COUNTED_DEADLINE_S", 0.1)
    before = Counter(hits_local=60, misses=15)
    counted = cached._counted(PROXY, before, reads=25)
    assert (counted["hits_local"], counted["hits_memcached"], counted["misses"], counted["bypassed"]) == (12, 5, 5, 3)
    for reads in (24, 26):
        with pytest.raises(NotCounted, match=f"25 of {reads} reads"):
            cached._counted(PROXY, before, reads)
