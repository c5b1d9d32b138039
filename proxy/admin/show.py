"""SHOW TURNOUT ...: tables for people, over MySQL and in `turnout status`."""

from __future__ import annotations

import datetime
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TypeVar

from proxy.admin.overview import Overview, ServerSum, StreamView, WorkerView, servers
from proxy.errors import StatementRefused
from proxy.measure.peers import Rows
from proxy.measure.states import SequenceState, SessionState
from proxy.measure.totals import CacheTotal, ShapeTotal
from proxy.plan.places import of_cluster, table_clusters
from proxy.rules.mask import masked_text
from proxy.rules.model import Database, Rules, Table
from proxy.rules.problem import did_you_mean

Shown = tuple[list[str], Rows]
Cell = str | int | float | None
T = TypeVar("T")

_WORDS = re.compile(r"([A-Za-z_]+)(?:\s+LIMIT\s+(\d+))?\s*;?\s*\Z", re.IGNORECASE)


CLUSTERS: dict[str, Callable[[ServerSum], Cell]] = {
    "cluster": lambda one: one.cluster,
    "role": lambda one: one.role,
    "address": lambda one: one.address,
    "state": lambda one: one.state,
    "lag_s": lambda one: None if one.lag_s is None else round(one.lag_s, 3),
    "busy": lambda one: one.busy,
    "idle": lambda one: one.idle,
    "pinned": lambda one: one.pinned,
    "waiting": lambda one: one.waiters,
    "limit": lambda one: one.limit,
    "read_only": lambda one: yes_no(one.read_only),
    "reason": lambda one: one.reason,
}
SHAPES: dict[str, Callable[[ShapeTotal], Cell]] = {
    "id": lambda one: one.shape.id,
    "count": lambda one: one.count,
    "errors": lambda one: one.errors,
    "rows": lambda one: one.rows,
    "total_s": lambda one: round(one.times.sum_ns / 1e9, 3),
    "mean_ms": lambda one: milliseconds(one.times.sum_ns / one.count),
    "p95_ms": lambda one: milliseconds(one.times.quantile_ns(0.95)),
    "max_ms": lambda one: milliseconds(one.times.max_ns),
    "server_pct": lambda one: round(100 * one.server_ns / one.times.sum_ns) if one.times.sum_ns else None,
    "last_seen": lambda one: moment(one.last_seen),
    "plan": lambda one: one.shape.kind,
    "clusters": lambda one: ", ".join(one.shape.clusters),
    "tables": lambda one: ", ".join(one.shape.tables),
    "shape": lambda one: one.digest,
}
SESSIONS: dict[str, Callable[[SessionState], Cell]] = {
    "id": lambda one: one.id,
    "user": lambda one: one.user,
    "host": lambda one: one.host,
    "database": lambda one: one.database,
    "state": lambda one: one.state,
    "seconds": lambda one: round(one.seconds, 3),
    "transaction": lambda one: yes_no(one.transaction),
    "pinned": lambda one: one.pinned,
    "cluster": lambda one: one.cluster,
    "shape": lambda one: one.shape,
    "statements": lambda one: one.statements,
    "worker": lambda one: one.worker,
}
STREAMS: dict[str, Callable[[StreamView], Cell]] = {
    "cluster": lambda one: one.cluster,
    "following": lambda one: yes_no(one.following),
    "lag_ms": lambda one: None if one.lag_s is None else round(one.lag_s * 1000, 1),
    "applied": lambda one: position_text(one.applied),
    "visible": lambda one: position_text(one.visible),
    "transactions": lambda one: one.counters.get("transactions", 0),
    "rows": lambda one: one.counters.get("rows", 0),
    "unknown": lambda one: one.counters.get("unknown", 0),
    "restarts": lambda one: one.restarts,
    "pid": lambda one: one.pid or None,
    "memory_mb": lambda one: round(one.memory_bytes / 2**20, 1),
    "reason": lambda one: one.reason,
}
WORKERS: dict[str, Callable[[WorkerView], Cell]] = {
    "worker": lambda one: one.slot,
    "pid": lambda one: one.pid or None,
    "state": lambda one: one.state,
    "started": lambda one: moment(one.started) if one.pid else None,
    "restarts": lambda one: one.restarts,
    "clients": lambda one: one.gauges.get("clients", 0),
    "plans": lambda one: one.gauges.get("plans", 0),
    "shapes": lambda one: one.gauges.get("shapes", 0),
    "memory_mb": lambda one: round(one.memory_bytes / 2**20, 1),
}


async def show(what: str, overview: Overview) -> Shown:
    """Columns and rows of `SHOW TURNOUT <what>`, which may end in `LIMIT n`. Raises StatementRefused."""
    words = _WORDS.match(what.strip())
    name = words[1].upper() if words else what.strip().upper()
    make = TABLES.get(name) if words else None
    if words is None or make is None:
        said = [f"No SHOW TURNOUT {what.strip()[:64]}.", did_you_mean(name, TABLES).replace("`", "")]
        if not name:
            said = ["SHOW TURNOUT needs the name of a table."]
        said.append(f"There are: {', '.join(TABLES)}")
        raise StatementRefused(" ".join(filter(None, said)), reason="show-unknown")
    columns, rows = await make(overview)
    return columns, rows[: int(words[2])] if words[2] else rows


async def clusters(overview: Overview) -> Shown:
    """One line per server, over all workers, in the order of the rules."""
    order = {name: i for i, name in enumerate(overview.rules.clusters)}
    found = servers(overview.workers)
    found.sort(key=lambda one: (order.get(one.cluster, len(order)), one.role != "primary", one.address))
    return filled(CLUSTERS, found)


async def shapes(overview: Overview) -> Shown:
    """One line per shape, the one that took the most time in all first."""
    found = sorted(overview.totals.shapes.values(), key=lambda one: one.times.sum_ns, reverse=True)
    return filled(SHAPES, found)


async def sessions(overview: Overview) -> Shown:
    """One line per client, by id."""
    return filled(SESSIONS, sorted(await overview.sessions(), key=lambda one: one.id))


async def sequences(overview: Overview) -> Shown:
    """One line per sequence, over all workers."""
    columns = ["cluster", "sequence", "next_id", "at_hand", "block", "workers", "problem"]
    found: dict[tuple[str, str], list[SequenceState]] = {}
    for one in await overview.sequences():
        found.setdefault((one.cluster, one.name), []).append(one)
    rows: Rows = []
    for (cluster, name), seen in sorted(found.items()):
        known = [one.next_id for one in seen if one.next_id is not None]
        rows.append(
            [
                cluster,
                name,
                max(known) if known else None,
                sum(one.at_hand for one in seen),
                max(one.block for one in seen),
                sum(1 for one in seen if one.block),
                next((one.problem for one in seen if one.problem), ""),
            ]
        )
    return columns, rows


async def tables(overview: Overview) -> Shown:
    """Every table that has an entry or was seen in a statement, the one whose statements took the most time first.

    A statement over several tables counts for each of them.
    """
    columns = ["database", "table", "place", "key", "reads", "statements", "errors", "total_s"]
    rules = overview.rules
    counted: dict[tuple[str, str], list[int]] = {}
    written = {
        (d.name.lower(), t.name.lower()): (d.name, t.name) for d in rules.databases.values() for t in d.tables.values()
    }
    for one in overview.totals.shapes.values():
        for full in one.shape.tables:
            database, _, table = full.rpartition(".")
            sums = counted.setdefault(written.get((database.lower(), table.lower()), (database, table)), [0, 0, 0])
            sums[0] += one.count
            sums[1] += one.errors
            sums[2] += one.times.sum_ns
    names = dict.fromkeys([*written.values(), *counted])
    rows: Rows = []
    for database, table in names:
        count, errors, total_ns = counted.get((database, table), (0, 0, 0))
        place, key, reads = placed(rules, database, table)
        rows.append([database, table, place, key, reads, count, errors, round(total_ns / 1e9, 3)])
    rows.sort(key=lambda row: (-float(row[7] or 0), str(row[0]), str(row[1])))
    return columns, rows


def placed(rules: Rules, database: str, table: str) -> tuple[str, str, str]:
    """(where a table lives, its shard key, where its reads go), in the words of the rules file."""
    owner: Database | None = rules.databases.get(database)
    entry: Table | None = rules.table(database, table)
    reads = entry.reads if entry else owner.reads if owner else None
    source = reads.source.value if reads else "primary"
    if entry is None:
        return f"home: {rules.home(database or None)}", "", source
    if entry.everywhere:
        return "everywhere", "", source
    if entry.sharding is not None:
        return f"sharding: {entry.sharding.name}", entry.key, source
    return f"cluster: {entry.cluster}", "", source


async def cache(overview: Overview) -> Shown:
    """One line per cache class: those of the rules, and what was served under earlier ones."""
    columns = ["table", "by", "coherent", "hits", "from_memcached", "misses", "hit_pct", "waits", "refused", "bypassed"]
    columns += ["not_kept", "why", "not_served"]
    stopped = {one.cluster: one.reason or "not followed yet" for one in overview.streams if not one.following}
    unserved = {
        (f"{table.database}.{table.name}", ",".join(one.by), True): "; ".join(
            of_cluster(cluster, stopped[cluster])
            for cluster in table_clusters(overview.rules, table)
            if cluster in stopped
        )
        for table in overview.rules.cached_tables
        for one in table.cache
        if one.ttl_s is None
    }
    known = {
        (f"{database.name}.{table.name}", ",".join(one.by), one.ttl_s is None)
        for database in overview.rules.databases.values()
        for table in database.tables.values()
        for one in table.cache
    }
    rows: Rows = []
    for key in sorted(known | set(overview.totals.caches)):
        total = overview.totals.caches.get(key, CacheTotal())
        local, remote = total.counters.get("hits_local", 0), total.counters.get("hits_memcached", 0)
        misses = total.counters.get("misses", 0)
        asked = local + remote + misses
        why = {**total.refused, **total.bypassed, **total.unfilled}
        most = sorted(why.items(), key=lambda item: -item[1])[:3]
        rows.append(
            [
                key[0],
                key[1],
                yes_no(key[2]),
                local + remote,
                remote,
                misses,
                round(100 * (local + remote) / asked, 1) if asked else None,
                total.counters.get("waits", 0),
                sum(total.refused.values()),
                sum(total.bypassed.values()),
                sum(total.unfilled.values()),
                ", ".join(f"{reason}: {n}" for reason, n in most),
                unserved.get(key, ""),
            ]
        )
    return columns, rows


async def streams(overview: Overview) -> Shown:
    """One line per cluster whose binary log is followed."""
    return filled(STREAMS, overview.streams)


async def rules(overview: Overview) -> Shown:
    """The file that is in force, line by line, without its passwords."""
    lines = masked_text(overview.rules).splitlines()
    return ["line", "rules"], [[number, line] for number, line in enumerate(lines, 1)]


async def workers(overview: Overview) -> Shown:
    """One line per worker process."""
    return filled(WORKERS, overview.workers)


async def status(overview: Overview) -> Shown:
    """Turnout as a whole."""
    totals = overview.totals
    return ["what", "value"], [
        ["version", overview.version],
        ["state", "stopping" if overview.stopping else "ready" if overview.ready else "not ready"],
        ["up_s", round(overview.now - overview.started)],
        ["mysql", overview.mysql],
        ["http", overview.http],
        ["rules", str(overview.rules.path)],
        ["rules_loaded", moment(overview.rules_loaded)],
        ["reloads", overview.reloads_ok],
        ["reloads_failed", overview.reloads_failed],
        ["last_reload_problem", overview.last_problem],
        ["workers", len(overview.workers)],
        ["clients", sum(worker.gauges.get("clients", 0) for worker in overview.workers)],
        ["statements", totals.statements],
        ["errors", sum(totals.labelled.get("errors", {}).values())],
    ]


TABLES: dict[str, Callable[[Overview], Awaitable[Shown]]] = {
    "CLUSTERS": clusters,
    "SHAPES": shapes,
    "SESSIONS": sessions,
    "TABLES": tables,
    "SEQUENCES": sequences,
    "CACHE": cache,
    "STREAMS": streams,
    "RULES": rules,
    "WORKERS": workers,
    "STATUS": status,
}


def filled(columns: Mapping[str, Callable[[T], Cell]], items: Iterable[T]) -> Shown:
    """A table with one row per item."""
    return list(columns), [[cell(item) for cell in columns.values()] for item in items]


def position_text(position: int) -> str:
    """A position of a binary log: the number of its file, and the offset in it."""
    return f"{position >> 40}:{position & (1 << 40) - 1}" if position else ""


def moment(unix_s: float) -> str:
    """Seconds of Unix time as people and MySQL write them, in UTC."""
    return datetime.datetime.fromtimestamp(unix_s, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S")


def milliseconds(ns: float) -> float:
    return round(ns / 1e6, 3)


def yes_no(value: bool) -> str:
    return "yes" if value else "no"
