"""The cache under sysbench: hits from a worker's memory and from memcached, misses, and a Zipf load with writes.

Turnout's own counters are read before and after every run: every read has to be accounted for, and the results say how
many of them were what they were meant to be. Runs are interleaved as in `bench.throughput`.
"""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from bench import sysbench
from bench.cached_topology import (
    ACCOUNT,
    LOCAL,
    LOCAL_2,
    READ,
    REMOTE,
    REMOTE_2,
    UNCACHED,
    WRITTEN,
    CachedTarget,
    CachedTopology,
    Memory,
)
from bench.samples import Sample
from bench.sysbench import Workload
from bench.topology import DIRECT
from tests.servers import Turnout

SCRIPT = str(Path(__file__).with_name("cached_reads.lua"))
HITS, PREPARED_HITS = "point select", "point select (prepared)"
REMOTE_HITS, MISSES, ZIPF = "point select, many keys", "point select, each new", "Zipf, 5 % UPDATEs"
COUNTED_DEADLINE_S = 5.0  # workers hand their counters on once a second
_NEW_PER_RUN = 1_000_000
_TURNS = 8  # at most, until memcached has everything


@dataclass(frozen=True, slots=True)
class CacheSize:
    rounds: int
    seconds: int
    local_keys: int
    remote_keys: int
    many_clients: int  # besides 8; 0: not measured
    targets: tuple[str, ...]


EVERY_TARGET = (UNCACHED, LOCAL, LOCAL_2, REMOTE, REMOTE_2)
FULL = CacheSize(rounds=5, seconds=3, local_keys=10_000, remote_keys=20_000, many_clients=64, targets=EVERY_TARGET)
QUICK = CacheSize(
    rounds=1, seconds=1, local_keys=2_000, remote_keys=10_000, many_clients=0, targets=(UNCACHED, LOCAL, REMOTE)
)


@dataclass(frozen=True, slots=True)
class CacheLoad:
    """`targets`: those that it is meant for."""

    name: str
    clients: int
    options: tuple[str, ...]
    targets: frozenset[str]
    prepared: bool = False

    def workload(self, first: int) -> Workload:
        return Workload(SCRIPT, self.prepared, (*self.options, f"--first={first}"), self.name)


@dataclass(frozen=True, slots=True)
class CacheSample(Sample):
    """A run with what Turnout counted in it, and memcached's CPU per statement. `refused`: values that were found and
    not served, by the part of the hit rule that forbade it; these reads are misses too."""

    reads: int = 0
    hits_local: int = 0
    hits_memcached: int = 0
    misses: int = 0
    bypassed: int = 0
    refused: int = 0
    memcached_us: float = 0.0

    def share(self, part: int) -> float:
        return part / self.reads if self.reads else 0.0

    @property
    def hit_rate(self) -> float:
        return self.share(self.hits_local + self.hits_memcached)


class NotCounted(RuntimeError):
    """Reads are missing in Turnout's counters: what was measured is not what was meant."""


# Loads whose targets run at the same time. Every Turnout with a cache that has nothing to do still follows the binary
# log, which takes 3 % of a processor together with the server's part.
GROUPS = ((HITS, PREPARED_HITS, ZIPF), (REMOTE_HITS, MISSES))


def loads(size: CacheSize) -> list[CacheLoad]:
    few = (f"--table={READ}", f"--keys={size.local_keys}")
    many = (f"--table={READ}", f"--keys={size.remote_keys}")
    zipf = (f"--table={WRITTEN}", f"--keys={size.local_keys}", "--pattern=zipf", "--exponent=1", "--writes=5")
    found = [CacheLoad(HITS, 8, few, frozenset({DIRECT, UNCACHED, LOCAL, LOCAL_2}))]
    if size.many_clients:
        found.append(CacheLoad(HITS, size.many_clients, few, frozenset({DIRECT, LOCAL, LOCAL_2})))
    prepared = (*few, "--prepared=on")
    found += [
        CacheLoad(PREPARED_HITS, 8, prepared, frozenset({DIRECT, LOCAL}), prepared=True),
        CacheLoad(REMOTE_HITS, 8, many, frozenset({DIRECT, UNCACHED, REMOTE, REMOTE_2})),
        CacheLoad(MISSES, 8, (*few, "--pattern=new"), frozenset({DIRECT, UNCACHED, LOCAL, REMOTE})),
        CacheLoad(ZIPF, 8, zipf, frozenset({DIRECT, UNCACHED, LOCAL, LOCAL_2})),
    ]
    return found


def measure(
    topology: CachedTopology, asked: Collection[str], size: CacheSize, say: Callable[[str], None]
) -> list[CacheSample]:
    """`asked`: the names of the loads. Raises NotCounted, SysbenchFailed."""
    for target in topology.targets:
        warm(target, size)
    samples = []
    firsts = itertools.count(_NEW_PER_RUN, _NEW_PER_RUN)
    for number in range(size.rounds):
        for load in [each for each in loads(size) if each.name in asked]:
            concerned = [target for target in topology.targets if target.name in load.targets]
            turn = number % len(concerned)
            for target in [*concerned[turn:], *concerned[:turn]]:
                if number and target.name == LOCAL and load.name in (HITS, PREPARED_HITS):
                    warm(target, size)  # other loads may have pushed out what this one asks for
                sample = _one(topology, target, load, number, size.seconds, next(firsts))
                samples.append(sample)
                say(
                    f"round {number + 1}/{size.rounds} {load.name} {load.clients} clients {target.name}: "
                    f"{sample.queries_per_s:.0f}/s, proxy {sample.proxy_us:.1f} us/statement"
                    + (f", hits {100 * sample.hit_rate:.1f} %" if target.memory is not Memory.NONE else "")
                )
    return samples


def warm(target: CachedTarget, size: CacheSize) -> None:
    """Bring every key that will be asked for into every worker's memory, or into memcached: what is read once, one key
    after the other, is not sent there, so it takes several turns until Turnout knows better."""
    keys = size.remote_keys if target.memory is Memory.MEMCACHED else size.local_keys
    options = (f"--table={READ}", f"--keys={keys}", "--pattern=deal", f"--events={keys}")
    # One client, so that no key is left out. Of two workers it is either's: eight are hardly all of the same.
    runs = [Workload(SCRIPT, options=options)] * (8 if target.name == LOCAL_2 else 1)
    if target.name == LOCAL:
        runs.append(Workload(SCRIPT, True, (*options, "--prepared=on")))
    if target.memory is Memory.MEMCACHED:
        runs *= _TURNS
    for workload in runs:
        before = counters(target.proxy) if target.proxy else Counter()
        report = sysbench.run(target.port, ACCOUNT, workload, 1, 0)
        if target.proxy is not None and target.memory is not Memory.NONE:
            counted = _counted(target.proxy, before, report.reads)  # what follows is not to find these in its counters
            if counted["hits_memcached"] > 0.95 * report.reads:
                break


def _one(
    topology: CachedTopology, target: CachedTarget, load: CacheLoad, number: int, seconds: int, first: int
) -> CacheSample:
    proxy, memcached = target.proxy, target.memcached

    def cpu() -> tuple[float, float, float, float]:
        return (
            *(proxy.cpu_s() if proxy else (0.0, 0.0)),
            sum(topology.server.cpu_s()),
            sum(memcached.cpu_s()) if memcached else 0.0,
        )

    counted_before = counters(proxy) if proxy else Counter()
    before = cpu()
    report = sysbench.run(target.port, ACCOUNT, load.workload(first), load.clients, seconds)
    user, system, server, stored = ((b - a) * 1e6 / report.queries for a, b in zip(before, cpu()))
    counted: Counter[str] = Counter()
    if proxy is not None and target.memory is not Memory.NONE:
        counted = _counted(proxy, counted_before, report.reads)
    return CacheSample(
        round=number,
        target=target.name,
        workload=load.name,
        clients=load.clients,
        queries=report.queries,
        queries_per_s=report.queries_per_s,
        p95_ms=report.p95_ms,
        errors=report.errors,
        proxy_user_us=user,
        proxy_system_us=system,
        server_us=server,
        reads=report.reads,
        memcached_us=stored,
        **counted,
    )


def _counted(proxy: Turnout, before: Counter[str], reads: int) -> Counter[str]:
    """What happened to these reads, once all of them are in the counters. Raises NotCounted."""
    until = time.monotonic() + COUNTED_DEADLINE_S
    while True:
        now = counters(proxy)
        now.subtract(before)
        accounted = sum(now[name] for name in ("hits_local", "hits_memcached", "misses", "bypassed"))
        if accounted == reads:
            return now
        if accounted > reads or time.monotonic() > until:
            raise NotCounted(f"{accounted} of {reads} reads are in Turnout's counters: {dict(now)}")
        time.sleep(0.05)


_COUNTERS = {"misses": "misses", "bypassed": "bypassed", "refused": "refused"}


def counters(proxy: Turnout) -> Counter[str]:
    """The counters of all cache classes, added up."""
    found: Counter[str] = Counter()
    for family in text_string_to_metric_families(proxy.get("/metrics")[1]):
        name = family.name.removeprefix("turnout_cache_")
        for sample in family.samples:
            if name == "hits" and sample.name.endswith("_total"):
                found[f"hits_{sample.labels['memory']}"] += int(sample.value)
            elif name in _COUNTERS and sample.name.endswith("_total"):
                found[_COUNTERS[name]] += int(sample.value)
    return found
