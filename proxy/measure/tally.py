"""What statements of one kind cost over some time, and a bounded number of such sums.

A `Tally` is what every source of measurements gives: the workers' windows, the history's rows, a server's logs. Its
histograms are sparse and in one dictionary, as in `proxy.measure.shapes`: times in all, in servers, in the proxy.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Hashable, Iterator
from typing import Generic, TypeVar

from proxy.measure.shapes import Histogram, ShapeId, ShapeWindow, split_buckets

TOTAL, IN_SERVERS, IN_PROXY = range(3)  # parts of a Tally's histograms

OTHERS = ShapeId("other", "", (), ())  # all shapes that were not worth a line of their own
OTHERS_DIGEST = "(other shapes)"
OTHER_TABLES = "(other tables)"
SYSTEM = ShapeId("system", "", (), ())  # of a server's log: what is no application's (`proxy.measure.own`)
SYSTEM_DIGEST = "(system and Turnout itself)"
SYSTEM_TABLES = "(tables of the system and of Turnout)"

Key = TypeVar("Key", bound=Hashable)


class Tally:
    """Sums over statements. What a source does not know stays 0 there (`Source` in `proxy.measure.ranking`)."""

    __slots__ = (
        "buckets",
        "count",
        "errors",
        "examined",
        "max_ns",
        "rows",
        "sent_bytes",
        "server_ns",
        "total_ns",
    )

    def __init__(self) -> None:
        self.count = self.errors = 0
        self.rows = self.examined = self.sent_bytes = 0  # rows sent to clients, rows that servers read for them
        self.total_ns = self.server_ns = self.max_ns = 0
        self.buckets: dict[int, int] = {}

    def add(self, other: Tally) -> None:
        self.count += other.count
        self.errors += other.errors
        self.rows += other.rows
        self.examined += other.examined
        self.sent_bytes += other.sent_bytes
        self.total_ns += other.total_ns
        self.server_ns += other.server_ns
        self.max_ns = max(self.max_ns, other.max_ns)
        self._add_buckets(other.buckets)

    def add_window(self, window: ShapeWindow) -> None:
        """The same for what a worker counted in a second."""
        self.count += window.count
        self.errors += window.errors
        self.rows += window.rows
        self.sent_bytes += window.sent_bytes
        self.total_ns += window.total_ns
        self.server_ns += window.server_ns
        self.max_ns = max(self.max_ns, window.max_ns)
        self._add_buckets(window.buckets)

    def _add_buckets(self, more: dict[int, int]) -> None:
        buckets = self.buckets
        for place, n in more.items():
            buckets[place] = buckets.get(place, 0) + n

    def quantile_ns(self, q: float, part: int = TOTAL) -> int:
        """Estimate of the q-th of the statements' times, inside the right power of two. `part`: the whole time, or the
        part of it in servers or in the proxy."""
        histogram = Histogram()
        histogram.add(split_buckets(self.buckets)[part], self.total_ns, self.max_ns)
        return histogram.quantile_ns(q)


class Tallies(Generic[Key]):
    """Tallies by key, at most `limit` of them: those that cost least make room, and count as `others` from then on, so
    that the sum of all stays that of everything. `generation` rises when some did: a Tally that was kept is void.
    `made_room` is told of each before it goes."""

    def __init__(
        self, limit: int, others: Key, made_room: Callable[[Key, Tally], None] = lambda key, tally: None
    ) -> None:
        self._made_room = made_room
        self._limit = max(1, limit)
        self._others = others
        self._by_key: dict[Key, Tally] = {}
        self.generation = 0

    def __len__(self) -> int:
        return len(self._by_key)

    def __iter__(self) -> Iterator[tuple[Key, Tally]]:
        return iter(self._by_key.items())

    def __contains__(self, key: Key) -> bool:
        return key in self._by_key

    def of(self, key: Key) -> Tally:
        """The sums of this key, to add to."""
        found = self._by_key.get(key)
        if found is None:
            if key != self._others and len(self._by_key) - (self._others in self._by_key) >= self._limit:
                self._make_room()
            found = self._by_key[key] = Tally()
        return found

    def _make_room(self) -> None:
        others = self._by_key.pop(self._others, None) or Tally()
        victims = heapq.nsmallest(
            max(1, self._limit // 8), self._by_key.items(), key=lambda item: (item[1].total_ns, item[1].count)
        )
        for key, tally in victims:
            self._made_room(key, tally)
            others.add(tally)
            del self._by_key[key]
        self._by_key[self._others] = others
        self.generation += 1
