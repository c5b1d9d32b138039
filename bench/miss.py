"""What a plan-cache miss costs, of statements as applications send them.

    python -m bench.miss [--profile STATEMENT]

prints microseconds of CPU in this process, by statement: of the whole miss, and of its parts (sqlglot's tokenizer and
parser; what else reading a statement takes; planning; the rest, most of it the entry), where the table is on one
cluster and where it is sharded. `miss_us` is what it takes of a whole proxy: its CPU for statements that it has never
seen, less that for a known one (part of `python -m bench.run`).
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import itertools
import pstats
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import pymysql

from bench.topology import RULES, Target
from parser import tree
from parser.analyse import parse
from parser.shape import lexer
from proxy.back.catalog import Catalog, Column, TableSchema
from proxy.front.environment import Environment
from proxy.measure.measures import Measures
from proxy.plan.planner import plan
from proxy.rules.loader import parse as parse_rules

POINT = "SELECT c AS c{n} FROM sbtest1 WHERE id = 17"
JOIN = (
    "SELECT a.k, COUNT(*) AS n{n}, SUM(b.k) FROM sbtest1 AS a JOIN sbtest1 AS b ON b.id = a.id"
    " LEFT JOIN sbtest1 AS d ON d.id = b.id AND d.k > 5 WHERE a.id BETWEEN 10 AND 12 AND b.pad LIKE '1%'"
    " GROUP BY a.k HAVING n{n} > 0 ORDER BY a.k DESC LIMIT 10"
)
_ORM_COLUMNS = ", ".join(
    f"`people`.`{name}`"
    for name in ("id", "email", "name", "born", "city", "country", "active", "visits", "seen", "note")
)
# By name. `{n}` is a number, `{gap}` white space, that no earlier statement had: so nobody knows its shape.
STATEMENTS = {
    "point select": POINT,
    "ORM select of 10 columns": f"SELECT {_ORM_COLUMNS} FROM `people` WHERE (`people`.`id` = 17 AND"
    " `people`.`active` = 1){gap}LIMIT 21",
    "INSERT of 10 columns": "INSERT INTO `people` (`email`, `name`, `born`, `city`, `country`, `active`, `visits`,"
    " `seen`, `note`){gap}VALUES ('a@b.example', 'A. B.', '1970-01-01', 'Bern', 'ch', 1, 17,"
    " '2026-01-01 10:00:00', NULL)",
    "UPDATE by key": "UPDATE `people` SET `name` = 'A. C.', `visits` = `visits` + 1, `seen` = '2026-01-01 10:00:01'"
    "{gap}WHERE `people`.`id` = 17",
    "SELECT with an IN list": f"SELECT {_ORM_COLUMNS} FROM `people` WHERE `people`.`id` IN"
    " (1, 2, 3, 5, 8, 13, 21, 34, 55, 89){gap}",
    "COUNT with WHERE": "SELECT COUNT(*) AS n{n} FROM people WHERE city = 'Bern' AND visits > 100",
    "LEFT JOIN, ORDER BY, LIMIT": "SELECT p.id, p.name, q.name AS friend{n} FROM people AS p LEFT JOIN people AS q ON"
    " q.id = p.id AND q.active = 1 WHERE p.id = 17 AND p.country = 'ch' ORDER BY p.seen DESC LIMIT 20",
    "join of three tables": JOIN,
}
PLAIN, SPREAD = "plain", "spread"  # databases of the benchmarks' topology: on one cluster, and sharded
_TEXTS = frozenset({"varchar", "char", "text"})
_ROUNDS = 9
_CALLS = 60
_numbers = itertools.count(1)


def new(statement: str) -> str:
    """The statement's next text, of a shape that no earlier one had."""
    number = next(_numbers)
    gap = "".join(" \t"[number >> bit & 1] for bit in range(number.bit_length()))
    return statement.replace("{n}", str(number)).replace("{gap}", f" {gap} ")


def miss_us(target: Target, statement: str, count: int) -> float:
    """Microseconds of the proxy's CPU that a miss takes more than a hit."""
    if target.proxy is None:
        raise ValueError(f"{target.name} has no plan cache")
    proxy, account = target.proxy, target.account
    connection = pymysql.connect(
        host="127.0.0.1",
        port=target.port,
        user=account.user,
        password=account.password,
        database=account.database,
        autocommit=True,
    )
    with connection, connection.cursor() as cursor:

        def cpu_us(text: Callable[[], str]) -> float:
            before = sum(proxy.cpu_s())
            for _ in range(count):
                cursor.execute(text())
                cursor.fetchall()
            return (sum(proxy.cpu_s()) - before) * 1e6 / count

        known = new(statement)
        cursor.execute(known)
        cursor.fetchall()
        hit = cpu_us(lambda: known)
        return cpu_us(lambda: new(statement)) - hit


# In this process


@dataclass(frozen=True, slots=True)
class Cost:
    """Microseconds of one miss, and of its parts."""

    whole: float
    sqlglot: float
    reading: float  # without sqlglot
    planning: float

    @property
    def rest(self) -> float:
        return self.whole - self.sqlglot - self.reading - self.planning


def environment() -> Environment:
    """That of a worker whose tables are those of the topology."""
    rules = parse_rules(
        "turnout: 1\nlisten: {mysql: '127.0.0.1:3307'}\n"
        + RULES.format(main="127.0.0.1:1", other="127.0.0.1:2")
        + "      people: {sharding: by_id, key: id}\n",
        Path("rules.yaml"),
        {},
    )

    def schema(database: str, name: str, columns: dict[str, str]) -> TableSchema:
        return TableSchema(
            database,
            name,
            tuple(
                Column(
                    column,
                    kind,
                    auto_increment=column == "id",
                    nullable=column != "id",
                    charset="utf8mb4" if kind in _TEXTS else None,
                    collation="utf8mb4_general_ci" if kind in _TEXTS else None,
                )
                for column, kind in columns.items()
            ),
            primary_key=("id",),
            unique_keys=(("id",),),
            engine="InnoDB",
            referenced=(),
        )

    tables = {
        "sbtest1": {"id": "int", "k": "int", "c": "char", "pad": "char"},
        "people": {
            "id": "int",
            "email": "varchar",
            "name": "varchar",
            "born": "date",
            "city": "varchar",
            "country": "char",
            "active": "tinyint",
            "visits": "int",
            "seen": "datetime",
            "note": "text",
        },
    }
    catalog = Catalog(
        {
            (cluster, database, name): schema(database, name, columns)
            for database, clusters in ((PLAIN, ("main",)), (SPREAD, ("main", "other")))
            for cluster in clusters
            for name, columns in tables.items()
        },
        1,
    )
    return Environment(rules, catalog, {}, Measures(), 1)


def costs(names: dict[str, str], database: str) -> dict[str, Cost]:
    """By name of statement. Rounds are interleaved; medians of all calls."""
    known = environment()
    cache = known.cache(database, lexer())
    found: dict[str, list[tuple[float, float, float, float]]] = {name: [] for name in names}
    for _ in range(_ROUNDS):
        for name, statement in names.items():
            for _ in range(_CALLS):
                shape, literals = cache.lexer.shape(new(statement).encode())
                began = time.process_time_ns()
                known.miss(cache, shape, literals)
                whole = time.process_time_ns() - began
                with _timed_sqlglot() as spent:
                    began = time.process_time_ns()
                    read = parse(shape, literals, lexer=cache.lexer, merged=cache.merged)
                    reading = time.process_time_ns() - began
                began = time.process_time_ns()
                plan(read, known.rules, known.catalog, database)
                planning = time.process_time_ns() - began
                sqlglot = sum(spent)
                found[name].append((whole, sqlglot, reading - sqlglot, planning))
    return {name: Cost(*(statistics.median(part) / 1000 for part in zip(*calls))) for name, calls in found.items()}


@contextmanager
def _timed_sqlglot() -> Iterator[list[int]]:
    """Nanoseconds of each call of sqlglot."""
    spent: list[int] = []
    real = tree.parse_text

    def timed(text: str) -> object:
        began = time.process_time_ns()
        try:
            return real(text)
        finally:
            spent.append(time.process_time_ns() - began)

    with patch.object(tree, "parse_text", timed):
        yield spent


def _profile(statement: str) -> None:
    known = environment()
    cache = known.cache(PLAIN, lexer())
    shapes = [cache.lexer.shape(new(statement).encode()) for _ in range(2000)]
    profiler = cProfile.Profile()
    profiler.enable()
    for shape, literals in shapes:
        known.miss(cache, shape, literals)
    profiler.disable()
    pstats.Stats(profiler).sort_stats("tottime").print_stats(45)


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.miss", description="Microseconds of CPU of plan-cache misses.")
    parser.add_argument("--profile", choices=list(STATEMENTS), help="show where one statement's time goes")
    chosen = parser.parse_args().profile
    gc.freeze()
    if chosen is not None:
        _profile(STATEMENTS[chosen])
        return
    width = max(map(len, STATEMENTS))
    for database, where in ((PLAIN, "on one cluster"), (SPREAD, "sharded")):
        print(f"{where:{width}}  {'miss':>6} {'sqlglot':>8} {'reading':>8} {'planning':>9} {'rest':>6}  us")
        for name, cost in costs(STATEMENTS, database).items():
            print(
                f"{name:{width}}  {cost.whole:6.0f} {cost.sqlglot:8.0f} {cost.reading:8.0f}"
                f" {cost.planning:9.0f} {cost.rest:6.0f}"
            )
        print()


if __name__ == "__main__":
    main()
