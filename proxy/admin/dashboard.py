"""What the dashboard shows, as one JSON document of bounded size. It holds no literals and no credentials.

Times are Unix seconds, lengths of time in the unit that their name ends with; null is "not known". Rates of servers and
cache classes are those of the last `RATE_S` seconds, whatever window the rest is about.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec

from proxy.admin.advice import Advice
from proxy.admin.overview import Overview, ServerSum, servers
from proxy.measure.ranking import Cell, Measured, by_shape
from proxy.measure.recent import ClassKey, RecentSlot, ServerKey
from proxy.measure.slots import Counted, Slot, most_loaded
from proxy.plan.places import table_clusters

SERIES = 8  # by name, in each chart; all others are one
SHAPES = 12  # in each of the three orders
CLASSES = 50
SERVERS = 100
WORKERS = 64
RATE_S = 15
SHAPE_CHARS = 1000
OTHERS = "(others)"
ORDERS = ("total", "mean", "count")


class Series(msgspec.Struct):
    """One line of a chart: a number for each of its times."""

    name: str
    load: list[float]  # seconds in servers per second: how many statements servers worked on, in the mean
    per_s: list[float]  # statements a second


class Load(msgspec.Struct):
    times: list[float]  # where the slots begin
    by_table: list[Series]  # the one that took the most time in servers first; `(others)` last
    by_plan: list[Series]  # techniques: the kind of plan, and `cache` for what was answered from memory


class Now(msgspec.Struct):
    """Over the last `RATE_S` seconds."""

    per_s: float | None
    load: float | None
    errors_per_s: float | None
    cache_hit_pct: float | None
    clients: int


class Shape(msgspec.Struct):
    id: str
    shape: str
    plan: str
    clusters: str
    tables: str
    face: str  # slow, frequent, or both
    count: Cell
    per_s: Cell
    total_s: Cell
    time_pct: Cell
    mean_ms: Cell
    p95_ms: Cell
    max_ms: Cell
    server_pct: Cell
    rows: Cell  # a statement
    errors: Cell


class CacheClass(msgspec.Struct):
    table: str
    by: str
    coherent: bool
    hits_per_s: float
    misses_per_s: float
    bypassed_per_s: float  # reads of the class that did not look: in transactions, above all
    refused_per_s: float  # values that were there, but might have been stale
    hit_pct: float | None  # of hits and misses
    hit_pct_total: float | None  # since Turnout was started
    unserved: str  # why nothing is served, if so


class Server(msgspec.Struct):
    cluster: str
    role: str
    address: str
    state: str
    reason: str
    lag_s: float | None
    read_only: bool
    per_s: float  # commands of clients
    busy: int
    idle: int
    pinned: int
    limit: int  # connections
    waiting: int
    wait_ms: float | None  # for a connection, of those that had to wait
    threads_running: int | None
    data_mb: float | None


class Worker(msgspec.Struct):
    worker: int
    state: str
    clients: int
    memory_mb: float
    plans: int
    cache_mb: float
    restarts: int
    up_s: float | None


class Dashboard(msgspec.Struct):
    version: str
    state: str  # ready | not ready | stopping
    now: float
    started: float
    mysql: str
    rules_loaded: float
    rules_problem: str  # of the newest reload, when it failed
    window: str  # live | day | month
    windows: list[str]  # that can be asked for
    since: float | None
    until: float | None
    note: str  # why there is less than was asked for, if so
    at_the_moment: Now
    load: Load
    shapes: list[Shape]
    caches: list[CacheClass]
    servers: list[Server]
    workers: list[Worker]
    advice: Advice | None  # null while there is none: without a history, above all


@dataclass(frozen=True, slots=True)
class Past:
    """What the history says of a window."""

    slots: Sequence[Slot]
    shapes: Measured
    note: str = ""


def dashboard(
    overview: Overview, window: str, windows: Sequence[str], past: Past | None = None, advice: Advice | None = None
) -> Dashboard:
    """Everything as it is now. `past`: of a window of the history; None for what is in memory."""
    now = overview.now
    slots = overview.recent.slots(now)
    if past is None:
        past = Past(slots, overview.recent.shapes(now))
    lately = [slot for slot in slots if slot.start + slot.seconds > now - slot.seconds - RATE_S]
    found = sorted_servers(overview)
    left = len(found) - SERVERS
    return Dashboard(
        version=overview.version,
        state="stopping" if overview.stopping else "ready" if overview.ready else "not ready",
        now=now,
        started=overview.started,
        mysql=overview.mysql,
        rules_loaded=overview.rules_loaded,
        rules_problem=overview.last_problem,
        window=window,
        windows=list(windows),
        since=past.shapes.since,
        until=past.shapes.until,
        note="; ".join(filter(None, (past.note, f"{left} more servers are not shown" if left > 0 else ""))),
        at_the_moment=at_the_moment(overview, lately),
        load=load(past.slots),
        shapes=top_shapes(past.shapes),
        caches=cache_classes(overview, lately),
        servers=[_server(one, lately) for one in found[:SERVERS]],
        workers=[
            Worker(
                worker=one.slot,
                state=one.state,
                clients=one.gauges.get("clients", 0),
                memory_mb=round(one.memory_bytes / 2**20, 1),
                plans=one.gauges.get("plans", 0),
                cache_mb=round(one.gauges.get("cache_bytes", 0) / 2**20, 1),
                restarts=one.restarts,
                up_s=round(now - one.started) if one.pid else None,
            )
            for one in overview.workers[:WORKERS]
        ],
        advice=advice,
    )


def load(slots: Sequence[Slot]) -> Load:
    """Load over time, by table and by technique."""
    lengths = [slot.seconds for slot in slots]
    return Load(
        [slot.start for slot in slots],
        _series([slot.by_table for slot in slots], lengths),
        _series([slot.by_plan for slot in slots], lengths),
    )


def _series(sums: Sequence[dict[str, Counted]], lengths: Sequence[float]) -> list[Series]:
    names = most_loaded(sums, SERIES)
    made = [Series(name, [], []) for name in names]
    others = Series(OTHERS, [], [])
    for counted, seconds in zip(sums, lengths):
        count = server_ns = 0.0
        for one in made:
            own_count, own_ns = counted.get(one.name, (0.0, 0.0))
            one.load.append(_short(own_ns / 1e9 / seconds))
            one.per_s.append(_short(own_count / seconds))
            count, server_ns = count + own_count, server_ns + own_ns
        every_count = sum(n for n, _ in counted.values())
        every_ns = sum(ns for _, ns in counted.values())
        others.load.append(_short(max(0.0, every_ns - server_ns) / 1e9 / seconds))
        others.per_s.append(_short(max(0.0, every_count - count) / seconds))
    if any(others.load) or any(others.per_s):
        made.append(others)
    return made


def _short(number: float) -> float:
    """Four digits are enough for a line, and for a telephone's connection."""
    return float(f"{number:.4g}") if number > 1e-6 else 0.0


def top_shapes(measured: Measured) -> list[Shape]:
    """The first of each order, those that took the most time in all first."""
    rows: dict[str, Shape] = {}
    for order in ORDERS:
        for row in by_shape(measured, order, SHAPES):
            if row["rank"] is None:
                continue  # all others as one: nothing to look at
            text = str(row["shape"])
            rows[str(row["shape_id"])] = Shape(
                id=str(row["shape_id"]),
                shape=text if len(text) <= SHAPE_CHARS else text[:SHAPE_CHARS] + " ...",
                plan=str(row["plan"] or ""),
                clusters=str(row["clusters"] or ""),
                tables=str(row["tables"] or ""),
                face=str(row["face"] or ""),
                count=row["count"],
                per_s=row["per_s"],
                total_s=row["total_s"],
                time_pct=row["time_pct"],
                mean_ms=row["mean_ms"],
                p95_ms=row["p95_ms"],
                max_ms=row["max_ms"],
                server_pct=row["server_pct"],
                rows=row["rows"],
                errors=row["errors"],
            )
    return list(rows.values())


def at_the_moment(overview: Overview, lately: Sequence[RecentSlot]) -> Now:
    seconds = sum(slot.seconds for slot in lately)
    hits = misses = 0
    for slot in lately:
        for counts in slot.caches.values():
            hits += _hits(counts)
            misses += counts.get("misses", 0)
    return Now(
        per_s=_rate(sum(slot.count for slot in lately), seconds),
        load=_rate(sum(slot.server_ns for slot in lately) / 1e9, seconds),
        errors_per_s=_rate(sum(slot.errors for slot in lately), seconds),
        cache_hit_pct=_pct(hits, hits + misses),
        clients=sum(worker.gauges.get("clients", 0) for worker in overview.workers),
    )


def cache_classes(overview: Overview, lately: Sequence[RecentSlot]) -> list[CacheClass]:
    """Those of the rules, and what was served lately under earlier ones; the most read first."""
    stopped = {one.cluster: one.reason or "not followed yet" for one in overview.streams if not one.following}
    keys: dict[ClassKey, str] = {}
    for table in overview.rules.cached_tables:
        for one in table.cache:
            why = [f"{name}: {stopped[name]}" for name in table_clusters(overview.rules, table) if name in stopped]
            key = (f"{table.database}.{table.name}", ",".join(one.by), one.ttl_s is None)
            keys[key] = "; ".join(why) if one.ttl_s is None else ""
    for slot in lately:
        for key in slot.caches:
            keys.setdefault(key, "")
    seconds = sum(slot.seconds for slot in lately) or 1.0
    made = []
    for key, unserved in keys.items():
        sums = _summed(slot.caches.get(key, {}) for slot in lately)
        hits, misses = _hits(sums), sums.get("misses", 0)
        total = overview.totals.caches.get(key)
        ever = total.counters if total is not None else {}
        made.append(
            CacheClass(
                *key,
                hits_per_s=_short(hits / seconds),
                misses_per_s=_short(misses / seconds),
                bypassed_per_s=_short(sums.get("bypassed", 0) / seconds),
                refused_per_s=_short(sums.get("refused", 0) / seconds),
                hit_pct=_pct(hits, hits + misses),
                hit_pct_total=_pct(_hits(ever), _hits(ever) + ever.get("misses", 0)),
                unserved=unserved,
            )
        )
    made.sort(key=lambda one: (-one.hits_per_s - one.misses_per_s - one.bypassed_per_s, one.table, one.by))
    return made[:CLASSES]


def sorted_servers(overview: Overview) -> list[ServerSum]:
    """In the order of the rules; those that are down first, so that they are among the ones that are shown."""
    order = {name: i for i, name in enumerate(overview.rules.clusters)}
    found = servers(overview.workers)
    found.sort(key=lambda one: (order.get(one.cluster, len(order)), one.role != "primary", one.address))
    if len(found) > SERVERS:
        found.sort(key=lambda one: one.state != "down")
    return found


def _server(one: ServerSum, lately: Sequence[RecentSlot]) -> Server:
    where: ServerKey = (one.cluster, one.address, one.role)
    sums = _summed(slot.servers.get(where, {}) for slot in lately)
    seconds = sum(slot.seconds for slot in lately) or 1.0
    data = one.status.get("data_bytes")
    return Server(
        cluster=one.cluster,
        role=one.role,
        address=one.address,
        state=one.state,
        reason=one.reason,
        lag_s=None if one.lag_s is None else round(one.lag_s, 3),
        read_only=one.read_only,
        per_s=_short(sums.get("commands", 0) / seconds),
        busy=one.busy,
        idle=one.idle,
        pinned=one.pinned,
        limit=one.limit,
        waiting=one.waiters,
        wait_ms=round(sums["wait_ns"] / sums["waits"] / 1e6, 3) if sums.get("waits") else None,
        threads_running=one.status.get("threads_running"),
        data_mb=None if data is None else round(data / 2**20, 1),
    )


def _hits(counts: dict[str, int]) -> int:
    return counts.get("hits_local", 0) + counts.get("hits_memcached", 0)


def _summed(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    sums: dict[str, int] = {}
    for one in counts:
        for name, n in one.items():
            sums[name] = sums.get(name, 0) + n
    return sums


def _rate(n: float, seconds: float) -> float | None:
    return _short(n / seconds) if seconds else None


def _pct(part: int, whole: int) -> float | None:
    return round(100 * part / whole, 1) if whole else None
