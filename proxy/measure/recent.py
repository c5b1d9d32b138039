"""The last quarter of an hour, in the supervisor's memory: for whoever looks while it happens.

Load, cache classes and servers in slots of five seconds, shapes by minute. Everything is bounded: 180 slots of at most
100 tables, 100 cache classes and 200 servers, and 16 minutes of at most 200 shapes, of which those that cost least
count as one: 12 MB with that many shapes, tables and classes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from proxy.back.counters import OTHER
from proxy.measure.ranking import Knows, Measured, MeasuredShape
from proxy.measure.shapes import ShapeId
from proxy.measure.slots import UNSERVED, Slot
from proxy.measure.tally import OTHERS, OTHERS_DIGEST, Tallies, Tally
from proxy.measure.windows import Window

SLOT_S = 5
SLOTS = 180
MINUTE_S = 60
MINUTES = SLOTS * SLOT_S // MINUTE_S + 1  # the first of them is half over
MAX_SHAPES = 200
MAX_TABLES = 100
MAX_CLASSES = 100
MAX_SERVERS = 200

KNOWS = Knows(server_times=True, plans=True)

ClassKey = tuple[str, str, bool]  # table, columns, and whether coherent
ServerKey = tuple[str, str, str]  # cluster, address, role


class RecentSlot(Slot):
    """A slot with what cache classes and servers did in it, too."""

    __slots__ = ("caches", "servers")

    def __init__(self, start: float) -> None:
        super().__init__(start, SLOT_S, MAX_TABLES)
        self.caches: dict[ClassKey, dict[str, int]] = {}  # hits_local, hits_memcached, misses, bypassed, refused
        self.servers: dict[ServerKey, dict[str, int]] = {}  # see ServerStats


class RecentMinute:
    """The shapes of one minute."""

    __slots__ = ("digests", "shapes", "start")

    def __init__(self, start: int) -> None:
        self.start = start
        self.digests: dict[ShapeId, str] = {OTHERS: OTHERS_DIGEST}
        self.shapes: Tallies[ShapeId] = Tallies(MAX_SHAPES, OTHERS, lambda shape, _: self._forget(shape))

    def _forget(self, shape: ShapeId) -> None:
        del self.digests[shape]


class Recent:
    """See the module. `now` is Unix time everywhere."""

    def __init__(self) -> None:
        self._slots: deque[RecentSlot] = deque(maxlen=SLOTS + 1)  # and the one that is not over
        self._minutes: deque[RecentMinute] = deque(maxlen=MINUTES)
        self._began: float | None = None

    def add(self, window: Window, now: float) -> None:
        """Count a worker's window in, which was taken about now."""
        slot, minute = self._at(now)
        for one in window.shapes:
            slot.add(one.shape, one.count, one.server_ns, one.errors, one.buckets.get(UNSERVED, 0))
            if one.shape not in minute.digests:
                minute.digests[one.shape] = one.digest
            minute.shapes.of(one.shape).add_window(one)
        for cache in window.caches:
            key = (cache.table, cache.by, cache.coherent)
            if key not in slot.caches and len(slot.caches) >= MAX_CLASSES:
                key = (OTHER, OTHER, cache.coherent)
            counts = slot.caches.setdefault(key, {})
            for name in ("hits_local", "hits_memcached", "misses"):
                counts[name] = counts.get(name, 0) + cache.counters.get(name, 0)
            counts["bypassed"] = counts.get("bypassed", 0) + sum(cache.bypassed.values())
            counts["refused"] = counts.get("refused", 0) + sum(cache.refused.values())
        for server in window.servers:
            where = (server.cluster, server.address, server.role)
            if where not in slot.servers and len(slot.servers) >= MAX_SERVERS:
                where = (OTHER, OTHER, server.role)
            counts = slot.servers.setdefault(where, {})
            for name, n in server.counters.items():
                counts[name] = counts.get(name, 0) + n

    def _at(self, now: float) -> tuple[RecentSlot, RecentMinute]:
        start, minute = int(now) - int(now) % SLOT_S, int(now) - int(now) % MINUTE_S
        if self._slots and start < self._slots[-1].start:  # the clock was set back
            self._slots.clear()
            self._minutes.clear()
            self._began = None
        if self._began is None:
            self._began = now
        if not self._slots or self._slots[-1].start != start:
            while self._slots and 0 < start - self._slots[-1].start - SLOT_S <= SLOTS * SLOT_S:
                self._slots.append(RecentSlot(self._slots[-1].start + SLOT_S))  # in which nobody said anything
            self._slots.append(RecentSlot(start))
        if not self._minutes or self._minutes[-1].start != minute:
            self._minutes.append(RecentMinute(minute))
        return self._slots[-1], self._minutes[-1]

    def slots(self, now: float) -> list[RecentSlot]:
        """The slots that are over, the oldest first."""
        first = now - (SLOTS + 1) * SLOT_S
        return [slot for slot in self._slots if first <= slot.start and slot.start + SLOT_S <= now]

    def shapes(self, now: float) -> Measured:
        """The shapes of the last quarter of an hour, to the minute."""
        minutes = [minute for minute in self._minutes if now - MINUTES * MINUTE_S < minute.start <= now]
        sums: dict[ShapeId, Tally] = {}
        digests: dict[ShapeId, str] = {}
        for shape, tally in self._tallies(minutes):
            sums.setdefault(shape, Tally()).add(tally)
        for minute in minutes:
            digests.update(minute.digests)
        since: float | None = min((minute.start for minute in minutes), default=None)
        if since is not None and self._began is not None:
            since = max(since, self._began)
        return Measured(
            "the last quarter of an hour",
            KNOWS,
            since,
            now if since is not None else None,
            [MeasuredShape(shape, digests[shape], tally) for shape, tally in sums.items()],
            [],
        )

    @staticmethod
    def _tallies(minutes: list[RecentMinute]) -> Iterator[tuple[ShapeId, Tally]]:
        for minute in minutes:
            yield from minute.shapes
