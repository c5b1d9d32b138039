"""What the hit rule costs a reader, by the number of workers. `python -m bench.clocks` prints nanoseconds a call."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial

from proxy.cache.cached_value import CachedValue
from proxy.cache.clocks import Clocks, SourceClock

SLOTS = (7, 90_001, 200_017)  # cluster, table, key
CALLS = 200_000
ROUNDS = 7


def nanoseconds(call: Callable[[], object]) -> float:
    """The best of a few rounds: what it costs when nobody else has the processor."""
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.perf_counter_ns()
        for _ in range(CALLS):
            call()
        best = min(best, (time.perf_counter_ns() - began) / CALLS)
    return best


def followed(workers: int) -> SourceClock:
    clocks = Clocks.create(workers, sources=1)
    os.close(clocks.fd)
    clock = clocks.source(0, 0)
    clock.begin(1, 4)
    clock.name_log(0, 1)
    clock.touch(SLOTS, 100)
    clock.apply(200)
    clock.see(200)
    clock.mark(SLOTS, 1000)
    clock.cover(2000)
    return clock


def main() -> None:
    empty = nanoseconds(lambda: None)
    for workers in (1, 2, 4, 8):
        clock = followed(workers)
        value = CachedValue(1, 1, 200, SLOTS, b"", 0, 0)
        assert clock.fresh(value, 2001, 1000)
        fresh = nanoseconds(partial(clock.fresh, value, 2001, 1000)) - empty
        stamp = nanoseconds(clock.stamp)
        mark = nanoseconds(partial(clock.mark, SLOTS, 3000)) - empty
        print(f"{workers} workers, {len(SLOTS)} slots: fresh {fresh:.0f} ns, stamp {stamp:.0f} ns, mark {mark:.0f} ns")


if __name__ == "__main__":
    main()
