"""Load over time: what statements took of servers' time in each of some slots, by table and by technique.

A *slot* is a few seconds, minutes or hours. A statement over several tables is shared out evenly among them, so that
tables add up to the whole; so do techniques.
"""

from __future__ import annotations

from collections.abc import Iterable

from proxy.measure.shapes import BUCKETS, ShapeId
from proxy.measure.tally import OTHER_TABLES

CACHE = "cache"  # the technique of what was answered from memory, whatever its shape's plan
NO_TABLE = "(no table)"
OTHER_PLANS = "(other shapes)"
UNSERVED = BUCKETS  # place in a window's or tally's buckets: statements for which no server was waited for

Counted = list[float]  # statements, and nanoseconds in servers


class Slot:
    """The statements of `seconds` from `start` (Unix time) on. At most `max_tables` tables by name."""

    __slots__ = ("by_plan", "by_table", "count", "errors", "max_tables", "seconds", "server_ns", "start")

    def __init__(self, start: float, seconds: float, max_tables: int = 200) -> None:
        self.start = start
        self.seconds = seconds
        self.max_tables = max_tables
        self.count = self.errors = self.server_ns = 0
        self.by_plan: dict[str, Counted] = {}
        self.by_table: dict[str, Counted] = {}

    def add(self, shape: ShapeId, count: int, server_ns: int, errors: int, unserved: int) -> None:
        """Count statements of one shape in. `unserved`: those for which no server was waited for."""
        self.count += count
        self.errors += errors
        self.server_ns += server_ns
        # What failed may not have got as far as a server: it was not answered from memory.
        cached = max(0, unserved - errors) if shape.clusters and shape.kind not in ("local", "refuse") else 0
        if cached:
            _add(self.by_plan, CACHE, cached, 0)
        if count > cached or server_ns:
            _add(self.by_plan, shape.kind or OTHER_PLANS, count - cached, server_ns)
        tables = tuple(dict.fromkeys(shape.tables)) or (NO_TABLE if shape.kind else OTHER_TABLES,)
        for name in tables:
            known = name in self.by_table or len(self.by_table) < self.max_tables
            _add(self.by_table, name if known else OTHER_TABLES, count / len(tables), server_ns / len(tables))


def _add(into: dict[str, Counted], name: str, count: float, server_ns: float) -> None:
    found = into.setdefault(name, [0.0, 0.0])
    found[0] += count
    found[1] += server_ns


def most_loaded(sums: Iterable[dict[str, Counted]], limit: int) -> list[str]:
    """The names that took most of the servers' time, then those with the most statements; at most `limit`."""
    totals: dict[str, Counted] = {}
    for one in sums:
        for name, (count, server_ns) in one.items():
            _add(totals, name, count, server_ns)
    ranked = sorted(totals, key=lambda name: (-totals[name][1], -totals[name][0], name))
    busy = ranked[: limit // 2]  # and what servers hardly notice, but clients ask for: answers from memory, above all
    frequent = sorted(ranked[limit // 2 :], key=lambda name: (-totals[name][0], name))
    return [name for name in ranked if name in {*busy, *frequent[: limit - len(busy)]}]
