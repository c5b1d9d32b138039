"""What the cache promises, checked: every read against what had been acknowledged before it began (docs/CACHE.md)."""

from __future__ import annotations

import time

import pytest

from tests.cache.coherence.checker import Setting, check
from tests.cache.coherence.faults import HARMFUL, HARMLESS
from tests.servers import Run
from tests.sizes import size

READS = size("TURNOUT_COHERENCE_READS", 40_000, 200_000)
HITS = size("TURNOUT_COHERENCE_HITS", 6_000, 20_000)

pytestmark = pytest.mark.servers


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_no_read_is_older_than_promised(run: Run) -> None:
    """Writers of every kind, two workers, two memcached servers, and each thing that can go wrong at least once."""
    seed = time.time_ns() % 1_000_000_007
    report = check(run, Setting(READS, seed, max_s=800, batch=96, fault_every_s=2.0, slower=4.0))
    print(report)
    assert not report.tally.violations, str(report)
    assert not report.unexpected, str(report)
    assert report.tally.reads >= READS, str(report)
    assert report.faults.keys() == {fault.__name__ for fault in (*HARMLESS, *HARMFUL)}, str(report)
    assert report.hits_local > 0, str(report)


@pytest.mark.thorough
@pytest.mark.timeout(300)
def test_without_faults_most_reads_are_hits(run: Run) -> None:
    """So that the test above is known to be about served values; one worker, few writes, no memcached."""
    report = check(run, Setting(HITS, seed=7, max_s=200, workers=1, batch=96, faults=(), slower=20.0, memcached=False))
    assert not report.tally.violations, str(report)
    assert not report.tally.failed, str(report)
    assert report.hits_local > report.tally.reads / 2, str(report)
