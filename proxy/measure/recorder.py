"""What goes into the history: windows of workers and looks at servers, added up to minutes.

Everything here is called by the supervisor's event loop, far from any statement, and is bounded: as many shapes as the
rules' `limits.shapes` (of a flood of others those that cost least count as one), tables, servers, and minutes that
could not be written yet.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from proxy.back.counters import SERVER_COUNTERS
from proxy.measure.history import MAX_SERVERS, OTHER_TABLE, Minute, ServerKey, TableKey
from proxy.measure.key_book import KeyBook
from proxy.measure.server_load import Load, add_load
from proxy.measure.shapes import Sample, ShapeId
from proxy.measure.spans import MINUTE
from proxy.measure.tally import OTHERS, Tallies, Tally
from proxy.measure.windows import Window

MAX_WAITING = 60  # minutes that wait to be written
MAX_MINUTE_TABLES = 2_000
MAX_TOGETHER = 1_000  # sets of tables that transactions of a minute touched together
STATUS_GAUGES = ("threads_running", "threads_connected")
STATUS_COUNTERS = (
    "innodb_buffer_pool_reads",
    "innodb_buffer_pool_read_requests",
    "rows_read",
    "rows_written",
    "questions",
)


class SeenServer(Protocol):
    """A server as all workers together see it (`ServerState` has the fields)."""

    cluster: str
    address: str
    role: str
    state: str
    lag_s: float | None
    busy: int
    waiters: int
    limit: int
    status: dict[str, int]


class Recorder:
    """See the module. `now` is Unix time everywhere."""

    def __init__(self, max_shapes: int) -> None:
        self.max_shapes = max_shapes
        self.lost = 0  # minutes that could not be written and had to make room
        self._waiting: list[Minute] = []
        self._keys = KeyBook()
        self._start = 0
        self._status: dict[ServerKey, tuple[float, dict[str, int]]] = {}  # the last look: when, and what it said
        self._begin(0)

    def _begin(self, start: int) -> None:
        self._start = start
        self._shapes: Tallies[ShapeId] = Tallies(self.max_shapes, OTHERS, self._made_room)
        self._tables: Tallies[TableKey] = Tallies(MAX_MINUTE_TABLES, OTHER_TABLE)  # of shapes that made room
        self._digests: dict[ShapeId, str] = {}
        self._samples: dict[ShapeId, Sample] = {}
        self._servers: dict[ServerKey, Load] = {}
        self._together: dict[tuple[str, ...], int] = {}

    def add(self, window: Window, now: float) -> None:
        """Count a worker's window in."""
        self._turn(now)
        for one in window.shapes:
            shape = one.shape
            generation = self._shapes.generation
            self._shapes.of(shape).add_window(one)
            if generation != self._shapes.generation:
                self._digests = {key: text for key, text in self._digests.items() if key in self._shapes}
                self._samples = {key: text for key, text in self._samples.items() if key in self._shapes}
            if shape not in self._digests:
                self._digests[shape] = one.digest
            if one.sample is not None:
                self._samples[shape] = one.sample
        for server in window.servers:
            counted = {name: float(n) for name, n in server.counters.items() if name in SERVER_COUNTERS}
            add_load(self._load((server.cluster, server.address, server.role)), counted)
        self._keys.add(window.keys)
        for tables, n in window.together:
            if tables in self._together or len(self._together) < MAX_TOGETHER:
                self._together[tables] = self._together.get(tables, 0) + n

    def _made_room(self, shape: ShapeId, tally: Tally) -> None:
        for table in dict.fromkeys(shape.tables):
            self._tables.of((table, shape.kind)).add(tally)

    def look(self, servers: Iterable[SeenServer], now: float) -> None:
        """Count in how servers are doing now: each server once."""
        self._turn(now)
        for one in servers:
            key = (one.cluster, one.address, one.role)
            load = {
                "looks": 1.0,
                "busy": float(one.busy),
                "busy_max": float(one.busy),
                "waiters_max": float(one.waiters),
                "limit_max": float(one.limit),
                "down": float(one.state == "down"),
            }
            if one.lag_s is not None:
                load["lag_s_max"] = one.lag_s
            load.update(self._status_load(key, one.status, now))
            add_load(self._load(key), load)

    def _status_load(self, key: ServerKey, status: dict[str, int], now: float) -> Load:
        """What the server says of itself, where it has said something new since the last look."""
        before = self._status.get(key)
        if not status or (before is not None and before[1] == status):
            return {}
        if before is None and len(self._status) >= MAX_SERVERS:
            self._status.clear()
        self._status[key] = (now, status)
        load: Load = {"status_looks": 1.0}
        for name in STATUS_GAUGES:
            if name in status:
                load[name] = load[f"{name}_max"] = float(status[name])
        if "data_bytes" in status:
            load["data_bytes_last"] = float(status["data_bytes"])
        if before is None or status.get("uptime", 0) < before[1].get("uptime", 0):
            return load  # nothing to compare with: it was started again
        load["status_s"] = float(status.get("uptime", 0) - before[1].get("uptime", 0))
        for name in STATUS_COUNTERS:
            if name in status and name in before[1]:
                load[name] = float(max(0, status[name] - before[1][name]))
        return load

    def _load(self, key: ServerKey) -> Load:
        if key not in self._servers and len(self._servers) >= MAX_SERVERS:
            key = ("other", "other", key[2])
        return self._servers.setdefault(key, {})

    # -- minutes ---------------------------------------------------------------------------------------------------

    def _turn(self, now: float) -> None:
        """Is it another minute? Then the one before is complete."""
        start = int(now) - int(now) % MINUTE
        if start == self._start:
            return
        self.end_minute()
        self._begin(start)

    def end_minute(self) -> None:
        """What was counted so far is to be written, though the minute may not be over: it can be added to."""
        if len(self._shapes) or self._servers:
            if len(self._waiting) >= MAX_WAITING:
                del self._waiting[0]
                self.lost += 1
            self._waiting.append(
                Minute(
                    self._start,
                    dict(self._shapes),
                    self._digests,
                    self._samples,
                    dict(self._tables),
                    self._servers,
                    self._keys.take(),
                    self._together,
                )
            )
        self._begin(self._start)

    def due(self, now: float) -> Minute | None:
        """The oldest minute that is to be written; `written` takes it away."""
        self._turn(now)
        return self._waiting[0] if self._waiting else None

    def written(self, minute: Minute) -> None:
        if self._waiting and self._waiting[0] is minute:
            del self._waiting[0]
