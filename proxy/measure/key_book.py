"""All workers' samples of keys, added up: a sketch per candidate key, and what a cache by it would have done.

Memory: MAX_KEPT candidate keys with a sketch and a replay of at most 2,000 keys each, about 0.3 MB each when full:
60 MB at the very most, a few MB in practice; and MAX_WAITING_EVENTS events that wait to be put in order.
"""

from __future__ import annotations

from collections.abc import Iterable

from proxy.measure.key_replay import (
    BLIND,
    CACHEABLE,
    COUNTED,
    REPLAYED,
    SHADOW_NS,
    WRITE,
    KeyEvent,
    Replay,
    expected_misses,
)
from proxy.measure.key_sketch import KeySketch
from proxy.measure.windows import KeyWindow

MAX_KEPT = 200
MAX_WAITING_EVENTS = 20_000
HEAVY_SHARE, MAX_HEAVY = 0.0025, 250  # of the statements of one candidate key; so many keys at most
SURELY = 4  # statements of the sample of statements
MOST_COUNTED = 5_000  # keys of the sample of statements that are kept apart

Candidate = tuple[str, tuple[str, ...]]  # database.table, columns


class _Keys:
    """One candidate key: what is known of it so far."""

    __slots__ = ("counted", "latest_ns", "replay", "total")

    def __init__(self) -> None:
        self.replay = Replay()
        self.counted: dict[int, float] = {}  # statements of the sample, with their weights, lately; by key
        self.total = 0.0
        self.latest_ns = 0


class KeyBook:
    """See the module."""

    def __init__(self) -> None:
        self._keys: dict[Candidate, _Keys] = {}
        self._sketches: dict[Candidate, KeySketch] = {}
        self._waiting: dict[Candidate, list[KeyWindow]] = {}
        self._events = 0

    def add(self, windows: Iterable[KeyWindow]) -> None:
        for window in windows:
            candidate = (window.table, window.columns)
            if candidate not in self._keys:
                if len(self._keys) >= MAX_KEPT:
                    continue
                self._keys[candidate] = _Keys()
            self._waiting.setdefault(candidate, []).append(window)
            self._events += len(window.events)
        if self._events > MAX_WAITING_EVENTS:
            self._put_in_order()

    def take(self) -> dict[Candidate, KeySketch]:
        """The sketches of what came since the last call."""
        self._put_in_order()
        taken, self._sketches = self._sketches, {}
        return taken

    def _put_in_order(self) -> None:
        """Workers see statements at the same time: what they hand on is replayed as it happened."""
        for candidate, windows in self._waiting.items():
            self._count(self._keys[candidate], self._sketches.setdefault(candidate, KeySketch()), windows)
        self._waiting = {}
        self._events = 0

    def _count(self, keys: _Keys, sketch: KeySketch, windows: list[KeyWindow]) -> None:
        replay = keys.replay
        events: list[KeyEvent] = []
        counted: dict[int, list[int]] = {}  # reads that are cacheable, and writes
        for window in windows:
            replay.restrict(window.level)
            sketch.level = max(sketch.level, window.level)
            for event in window.events:
                key, kind = event.key, event.kind
                if kind & COUNTED:
                    write, cacheable = bool(kind & WRITE), bool(kind & CACHEABLE)
                    sketch.count(key, write, cacheable, window.every)
                    keys.counted[key] = keys.counted.get(key, 0.0) + window.every
                    keys.total += window.every
                    if write or cacheable:
                        counted.setdefault(key, [0, 0])[write] += window.every
                if kind & REPLAYED:
                    sketch.see(key)
            events += window.events
        events.sort()
        _tell_apart(keys, SURELY * max(window.every for window in windows))
        heavy = {key: counted[key] for key in replay.apart if key in counted}
        hits, misses = replay.add(events)
        if heavy and events:
            begin_ns = keys.latest_ns or events[0].at_ns
            seconds = (events[-1].at_ns - begin_ns) / 1e9
            dark = _dark_ns(events) / 1e9 / seconds if seconds > 0 else 0.0
            for reads, writes in heavy.values():
                missed = round(expected_misses(reads, writes, seconds, min(1.0, dark)))
                misses += missed
                hits += round(reads) - missed
        sketch.hits += hits
        sketch.misses += misses
        if events:
            keys.latest_ns = events[-1].at_ns


def _tell_apart(keys: _Keys, surely: float) -> None:
    """Keys with many statements: a sample of keys would be wrong by whether they are in it, so they are not left to it.
    Of each of these enough is known from the sample of statements. `surely`: less may be chance."""
    if keys.replay.level == 0:
        return  # all are replayed
    least = HEAVY_SHARE * keys.total
    heavy = [key for key, n in keys.counted.items() if n >= least and n >= surely]
    keys.replay.apart = frozenset(sorted(heavy, key=lambda key: -keys.counted[key])[:MAX_HEAVY])
    if len(keys.counted) > MOST_COUNTED:
        keys.total /= 2
        keys.counted = {key: n / 2 for key, n in keys.counted.items() if n > least / 4}


def _dark_ns(events: Iterable[KeyEvent]) -> int:
    """How long nothing was served because of writes without a key."""
    dark = end = 0
    for event in events:
        if event.kind & BLIND:
            dark += min(SHADOW_NS, event.at_ns + SHADOW_NS - end)
            end = event.at_ns + SHADOW_NS
    return dark
