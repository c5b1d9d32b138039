"""Sums of the workers' windows: what the supervisor shows and exports.

Everything here only goes up, whatever happens to workers, because windows hold what was added and not where a worker's
counters stand. Shapes are bounded: the one not seen for longest makes room; what it counted stays in the sums by group.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from proxy.back.counters import OTHER, REASON_LABELS
from proxy.measure.measures import ERRNO_LABELS
from proxy.measure.shapes import Histogram, ShapeId, ShapeWindow, split_buckets
from proxy.measure.windows import CacheWindow, ServerWindow, Window

LABEL_LIMITS = {"errors": ERRNO_LABELS}
MAX_CLASSES = 1000  # of the cache, ever seen
MAX_SERVERS = 2000  # ever seen: rules change, addresses come and go


@dataclass(slots=True)
class ShapeTotal:
    """One line of SHOW TURNOUT SHAPES."""

    shape: ShapeId
    digest: str
    first_seen: float  # Unix time, of the window's arrival: to a second or so
    last_seen: float
    count: int = 0
    errors: int = 0
    rows: int = 0
    sent_bytes: int = 0
    server_ns: int = 0
    times: Histogram = field(default_factory=Histogram)

    def add(self, window: ShapeWindow, now: float) -> None:
        self.last_seen = now
        self.count += window.count
        self.errors += window.errors
        self.rows += window.rows
        self.sent_bytes += window.sent_bytes
        self.server_ns += window.server_ns
        self.times.add(split_buckets(window.buckets)[0], window.total_ns, window.max_ns)


@dataclass(slots=True)
class GroupTotal:
    """All statements of one plan kind on one cluster, those of shapes that are forgotten too."""

    count: int = 0
    errors: int = 0
    rows: int = 0
    sent_bytes: int = 0
    total: Histogram = field(default_factory=Histogram)
    server: Histogram = field(default_factory=Histogram)
    proxy: Histogram = field(default_factory=Histogram)

    def add(self, window: ShapeWindow) -> None:
        self.count += window.count
        self.errors += window.errors
        self.rows += window.rows
        self.sent_bytes += window.sent_bytes
        total, server, proxy = split_buckets(window.buckets)
        self.total.add(total, window.total_ns, window.max_ns)
        self.server.add(server, window.server_ns)
        self.proxy.add(proxy, window.total_ns - window.server_ns)


@dataclass(slots=True)
class ServerTotal:
    """What one server was asked by all workers."""

    counters: dict[str, int] = field(default_factory=dict)
    open_failed: dict[str, int] = field(default_factory=dict)
    closed: dict[str, int] = field(default_factory=dict)

    def add(self, window: ServerWindow) -> None:
        for name, n in window.counters.items():
            self.counters[name] = self.counters.get(name, 0) + n
        add_labels(self.open_failed, window.open_failed, REASON_LABELS)
        add_labels(self.closed, window.closed, REASON_LABELS)


@dataclass(slots=True)
class CacheTotal:
    """What one cache class did in all workers."""

    counters: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    bypassed: dict[str, int] = field(default_factory=dict)
    unfilled: dict[str, int] = field(default_factory=dict)

    def add(self, window: CacheWindow) -> None:
        for name, n in window.counters.items():
            self.counters[name] = self.counters.get(name, 0) + n
        add_labels(self.refused, window.refused, REASON_LABELS)
        add_labels(self.bypassed, window.bypassed, REASON_LABELS)
        add_labels(self.unfilled, window.unfilled, REASON_LABELS)


class Totals:
    """Everything that all workers counted since the supervisor started."""

    def __init__(self, max_shapes: int = 10_000) -> None:
        self.max_shapes = max_shapes
        self.shapes: dict[ShapeId, ShapeTotal] = {}  # the least recently seen first
        self.groups: dict[tuple[str, str], GroupTotal] = {}  # by plan kind and cluster
        self.servers: dict[tuple[str, str, str], ServerTotal] = {}  # by cluster, address and role
        self.caches: dict[tuple[str, str, bool], CacheTotal] = {}  # by table, columns, and whether coherent
        self.counters: dict[str, int] = {}
        self.labelled: dict[str, dict[str, int]] = {}
        self.shapes_forgotten = 0

    def add(self, window: Window, now: float) -> None:
        """Count one worker's window in; `now` is Unix time."""
        for shape in window.shapes:
            self._add_shape(shape, now)
        for server in window.servers:
            key = (server.cluster, server.address, server.role)
            if key not in self.servers and len(self.servers) >= MAX_SERVERS:
                key = (OTHER, OTHER, server.role)
            self.servers.setdefault(key, ServerTotal()).add(server)
        for cache in window.caches:
            where = (cache.table, cache.by, cache.coherent)
            if where not in self.caches and len(self.caches) >= MAX_CLASSES:
                where = (OTHER, OTHER, cache.coherent)
            self.caches.setdefault(where, CacheTotal()).add(cache)
        for name, n in window.counters.items():
            self.counters[name] = self.counters.get(name, 0) + n
        for family, labels in window.labelled.items():
            add_labels(self.labelled.setdefault(family, {}), labels, LABEL_LIMITS.get(family, REASON_LABELS))

    def _add_shape(self, window: ShapeWindow, now: float) -> None:
        shape = window.shape
        self.groups.setdefault((shape.kind, shape.cluster), GroupTotal()).add(window)
        total = self.shapes.pop(shape, None)
        if total is None:
            while len(self.shapes) >= self.max_shapes:
                del self.shapes[next(iter(self.shapes))]
                self.shapes_forgotten += 1
            total = ShapeTotal(shape, window.digest, now, now)
        self.shapes[shape] = total  # at the end: the most recently seen
        total.add(window, now)

    @property
    def statements(self) -> int:
        return sum(group.count for group in self.groups.values())


def merge(windows: Iterable[Window], now: float, max_shapes: int = 10_000) -> Totals:
    """The sum of some windows."""
    totals = Totals(max_shapes)
    for window in windows:
        totals.add(window, now)
    return totals


def add_labels(into: dict[str, int], labels: dict[str, int], limit: int) -> None:
    """Add counts by label to `into`, which never gets more than `limit` labels and `other`."""
    for label, n in labels.items():
        if label not in into and len(into) >= limit:
            label = OTHER
        into[label] = into.get(label, 0) + n
