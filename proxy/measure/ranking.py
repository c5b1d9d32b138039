"""What to look at first: shapes and tables by the time that they took in all, with both faces of it.

A shape may cost much because its statements are *slow* or because they are *frequent*; which of the two it is decides
what helps. Lines say both: mean and 95th percentile, and statements a second. The rows are made here, for a terminal,
for JSON and for CSV alike; what a source does not know is None.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from proxy.measure.shapes import Sample, ShapeId
from proxy.measure.tally import IN_PROXY, IN_SERVERS, OTHER_TABLES, OTHERS, SYSTEM, SYSTEM_TABLES, TOTAL, Tally

Cell = str | int | float | None
Row = dict[str, Cell]
T = TypeVar("T")

SLOW = 2.0  # times the mean of all statements: slow
FREQUENT = 0.05  # of all statements: frequent


@dataclass(frozen=True, slots=True)
class Knows:
    """What a source of measurements can tell."""

    times: bool = True
    server_times: bool = False  # which part of it was spent in servers
    rows: bool = True
    examined: bool = False
    sent_bytes: bool = True
    errors: bool = True
    plans: bool = False
    quantiles: bool = True


@dataclass(slots=True)
class MeasuredShape:
    shape: ShapeId
    digest: str
    tally: Tally
    sample: Sample | None = None


@dataclass(slots=True)
class Measured:
    """What a source says about a window of time: Unix times, None where it has none."""

    source: str
    knows: Knows
    since: float | None
    until: float | None
    shapes: list[MeasuredShape]
    tables: list[tuple[str, str, Tally]]  # database.table, kind of plan ("" for not known), sums
    servers: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # what a reader has to know of these numbers

    @property
    def seconds(self) -> float | None:
        if self.since is None or self.until is None:
            return None
        return max(self.until - self.since, 0.0)

    def all(self) -> Tally:
        """The sum over all statements."""
        total = Tally()
        for one in self.shapes:
            total.add(one.tally)
        return total


ORDERS: dict[str, Callable[[Tally], float]] = {
    "total": lambda tally: tally.total_ns,
    "count": lambda tally: tally.count,
    "mean": lambda tally: tally.total_ns / tally.count if tally.count else 0.0,
    "p95": lambda tally: tally.quantile_ns(0.95),
}


def by_shape(measured: Measured, order: str = "total", limit: int | None = None) -> list[Row]:
    """A row per shape, the most expensive first. At the end, without a rank, the shapes that have no line of their own
    are one, and so is what is no application's."""
    merged: dict[str, MeasuredShape] = {}
    plans: dict[str, dict[str, None]] = {}
    tables: dict[str, dict[str, None]] = {}
    clusters: dict[str, dict[str, None]] = {}
    for one in measured.shapes:
        name = one.shape.id
        if name not in merged:
            merged[name] = MeasuredShape(one.shape, one.digest, Tally())
        merged[name].tally.add(one.tally)
        plans.setdefault(name, {})[one.shape.kind] = None
        tables.setdefault(name, {}).update(dict.fromkeys(one.shape.tables))
        clusters.setdefault(name, {}).update(dict.fromkeys(one.shape.clusters))
    last = [(name, merged.pop(name)) for name in (OTHERS.id, SYSTEM.id) if name in merged]
    lines = [*_ordered(merged, lambda one: one.tally, measured, order)[:limit], *last]
    every = measured.all()
    rows: list[Row] = []
    for rank, (name, one) in enumerate(lines, 1):
        row: Row = {"rank": rank if (name, one) not in last else None, "shape_id": name}
        row.update(_numbers(one.tally, every, measured))
        row["plan"] = ", ".join(filter(None, plans[name])) if measured.knows.plans else None
        row["clusters"] = ", ".join(clusters[name]) if measured.knows.plans else None
        row["tables"] = ", ".join(tables[name])
        row["shape"] = one.digest
        rows.append(row)
    return rows


def by_table(measured: Measured, order: str = "total", limit: int | None = None) -> list[Row]:
    """A row per table, the most expensive first. A statement over several tables counts for each of them."""
    merged: dict[str, Tally] = {}
    plans: dict[str, dict[str, int]] = {}
    for name, kind, tally in measured.tables:
        merged.setdefault(name, Tally()).add(tally)
        kinds = plans.setdefault(name, {})
        kinds[kind] = kinds.get(kind, 0) + tally.count
    last = [(name, merged.pop(name)) for name in (OTHER_TABLES, SYSTEM_TABLES) if name in merged]
    lines = [*_ordered(merged, lambda tally: tally, measured, order)[:limit], *last]
    every = measured.all()
    rows: list[Row] = []
    for rank, (name, tally) in enumerate(lines, 1):
        database, _, table = name.rpartition(".")
        row: Row = {"rank": rank if (name, tally) not in last else None, "database": database, "table": table}
        row.update(_numbers(tally, every, measured))
        shares = sorted(plans[name].items(), key=lambda item: -item[1])
        row["plans"] = ", ".join(f"{kind}: {n}" for kind, n in shares) if measured.knows.plans else None
        rows.append(row)
    return rows


def _ordered(
    lines: Mapping[str, T], tally_of: Callable[[T], Tally], measured: Measured, order: str
) -> list[tuple[str, T]]:
    """The lines by what they cost; by their number where times are not known. Equal ones by name."""
    weigh = ORDERS[order if measured.knows.times else "count"]

    def place(item: tuple[str, T]) -> tuple[float, int, str]:
        tally = tally_of(item[1])
        return -weigh(tally), -tally.count, item[0]

    return sorted(lines.items(), key=place)


def _numbers(tally: Tally, every: Tally, measured: Measured) -> Row:
    knows = measured.knows
    count = tally.count or 1
    seconds = measured.seconds
    mean_ns = tally.total_ns / count
    return {
        "face": face(tally, every) if knows.times else None,
        "total_s": round(tally.total_ns / 1e9, 6) if knows.times else None,
        "time_pct": _share(tally.total_ns, every.total_ns) if knows.times else None,
        "count": tally.count,
        "count_pct": _share(tally.count, every.count),
        "per_s": round(tally.count / seconds, 3) if seconds else None,
        "mean_ms": round(mean_ns / 1e6, 3) if knows.times else None,
        "p95_ms": _p95_ms(tally, TOTAL) if knows.times and knows.quantiles else None,
        "max_ms": round(tally.max_ns / 1e6, 3) if knows.times else None,
        "server_pct": _share(tally.server_ns, tally.total_ns) if knows.server_times else None,
        "server_p95_ms": _p95_ms(tally, IN_SERVERS) if knows.server_times else None,
        "proxy_p95_ms": _p95_ms(tally, IN_PROXY) if knows.server_times else None,
        "rows": round(tally.rows / count, 1) if knows.rows else None,
        "examined": round(tally.examined / count, 1) if knows.examined else None,
        "sent_bytes": round(tally.sent_bytes / count, 1) if knows.sent_bytes else None,
        "errors": tally.errors if knows.errors else None,
    }


def _p95_ms(tally: Tally, part: int) -> float:
    return round(tally.quantile_ns(0.95, part) / 1e6, 3)


def face(tally: Tally, every: Tally) -> str:
    """`slow`: the mean is over twice that of all statements. `frequent`: at least a twentieth of all statements."""
    if not tally.count or not every.count:
        return ""
    words = []
    if tally.total_ns / tally.count > SLOW * every.total_ns / every.count:
        words.append("slow")
    if tally.count >= FREQUENT * every.count:
        words.append("frequent")
    return ", ".join(words)


def _share(part: int, whole: int) -> float | None:
    return round(100 * part / whole, 2) if whole else None


def totals(measured: Measured) -> Row:
    """All statements as one row."""
    every = measured.all()
    row = _numbers(every, every, measured)
    for name in ("face", "time_pct", "count_pct"):
        del row[name]
    return row


def as_json(measured: Measured, shapes: Sequence[Row], tables: Sequence[Row]) -> dict[str, object]:
    """Everything, for programs. Times are in UTC."""
    return {
        "source": measured.source,
        "since": iso(measured.since),
        "until": iso(measured.until),
        "seconds": measured.seconds,
        "notes": measured.notes,
        "all": totals(measured),
        "shapes": list(shapes),
        "tables": list(tables),
        "servers": measured.servers,
    }


def iso(unix_s: float | None) -> str | None:
    """Unix time as ISO 8601 in UTC, to the second."""
    if unix_s is None:
        return None
    return datetime.datetime.fromtimestamp(unix_s, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
