"""A shop over four clusters and its mirror, one server that has everything: the same statements on both."""

from __future__ import annotations

import random
from dataclasses import replace

from tests.front.raw import Answer, Client, Column
from tests.front.test_merge import STRINGS, THINGS, _column, _row
from tests.servers import MariaDB, Run, Shop, Turnout
from tests.servers.shop import APP, APP_PASSWORD, DATABASE

CLUSTERS = ("main", "media", "shard0", "shard1", "shard2")
RULES = """\
{servers}
shardings:
  by_k: {{method: hash, clusters: [shard0, shard1, shard2]}}
  by_region: {{method: list, values: {{shard0: [a], shard1: [b]}}, default: media}}
databases:
  shop:
    home: main
    tables:
      things: {{sharding: by_k, key: k}}
      parts: {{sharding: by_k, key: k}}
      places: {{sharding: by_region, key: region}}
      odd: {{sharding: by_k, key: k}}
      photos: {{cluster: media}}
      kinds: {{everywhere: true}}
transactions: best_effort
workbench: {workbench}
health: {{timeout: 30s, connect_timeout: 30s}}
"""
SCHEMA = (
    f"CREATE TABLE things {THINGS}",
    "CREATE TABLE parts (k INT, part INT, of_id INT, price DECIMAL(8,2), note VARCHAR(20) COLLATE utf8mb4_unicode_ci, "
    "PRIMARY KEY (k, part), KEY (of_id))",
    "CREATE TABLE places (region VARCHAR(5), id INT, name VARCHAR(20) COLLATE utf8mb4_unicode_ci, "
    "PRIMARY KEY (region, id))",
    "CREATE TABLE odd (k INT NOT NULL, id INT NOT NULL, j JSON, u UUID, i6 INET6, geo GEOMETRY, raw LONGBLOB NOT NULL, "
    "bin BINARY(4), wide VARCHAR(20) CHARACTER SET utf16, gbk VARCHAR(20) CHARACTER SET gbk, low TEXT CHARACTER SET "
    "latin1, c CHAR(5) DEFAULT 'x''y', z DATETIME NOT NULL, zero DATE, z4 INT(8) UNSIGNED ZEROFILL, "
    "big DECIMAL(65,30), d DOUBLE, f FLOAT, ts TIMESTAMP(6) NULL, twice INT AS (id * 2) VIRTUAL, "
    "thrice INT AS (id * 3) STORED, local_day DATE AS (DATE(ts - INTERVAL 1 HOUR)) VIRTUAL, who VARCHAR(99) AS "
    "(CONCAT(CURRENT_USER, '|', k || id, id <=> k)) VIRTUAL, "
    "hidden INT INVISIBLE, bits BIT(64), y YEAR, PRIMARY KEY (k, id), KEY (id))",
    "CREATE TABLE photos (id INT AUTO_INCREMENT PRIMARY KEY, of_id INT, title VARCHAR(30), taken DATE, n INT, "
    "KEY (of_id))",
    "CREATE TABLE users (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(30) NOT NULL, i INT, boss INT)",
    "CREATE TABLE kinds (i INT PRIMARY KEY, kind VARCHAR(20))",
)
ROWS = 150


def inserts() -> list[str]:
    rng = random.Random(7)
    columns = "k, id, i, u, n, f, g, day, at, ts, t, y, e, s, bits, " + ", ".join(STRINGS)
    rows = [_row(rng, rng.randrange(30), number) for number in range(ROWS)]

    def maybe(value: object) -> str:
        return "NULL" if rng.random() < 0.15 else str(value)

    parts = [
        f"({rng.randrange(30)}, {n}, {maybe(rng.randrange(ROWS))}, {rng.randrange(900) / 100}, "
        f"{maybe(repr(rng.choice(('a', 'A', 'b', 'é', 'x y', ''))))})"
        for n in range(120)
    ]
    places = [f"('{'abcd'[n % 4]}', {n}, '{rng.choice(('x', 'X', 'y', 'é', 'e '))}')" for n in range(24)]
    photos = [
        f"({n}, {maybe(rng.randrange(ROWS))}, {maybe(repr(rng.choice(('one', 'Two', 'three'))))}, "
        f"'2024-0{rng.randrange(1, 10)}-1{rng.randrange(10)}', {maybe(rng.randrange(-3, 12))})"
        for n in range(1, 90)
    ]
    users = [f"({n}, 'user {n % 7}', {maybe(rng.randrange(-3, 12))}, {maybe(n // 2)})" for n in range(1, 40)]
    return [
        "SET time_zone = '+00:00'",
        "SET sql_mode = 'ALLOW_INVALID_DATES'",
        *(f"INSERT INTO things ({columns}) VALUES {', '.join(rows[at : at + 30])}" for at in range(0, ROWS, 30)),
        f"INSERT INTO parts VALUES {', '.join(parts)}",
        f"INSERT INTO places VALUES {', '.join(places)}",
        f"INSERT INTO photos VALUES {', '.join(photos)}",
        f"INSERT INTO users VALUES {', '.join(users)}",
        "INSERT INTO kinds VALUES " + ", ".join(f"({n}, 'kind {n % 3}')" for n in range(-3, 12)),
        *odd_rows(rng),
        "SET sql_mode = DEFAULT",
    ]


def odd_rows(rng: random.Random) -> list[str]:
    """Values that a copy could lose something of."""
    columns = "k, id, j, u, i6, geo, raw, bin, wide, gbk, low, c, z, zero, z4, big, d, f, ts, hidden, bits, y"
    made = []
    for n in range(40):
        raw = bytes(rng.randrange(256) for _ in range(rng.choice((0, 1, 7, 300))))
        values = [
            rng.choice(('\'{"a": [1, "x\\\\"y"]}\'', "'null'", "'[]'", "NULL")),
            rng.choice(("'123e4567-e89b-12d3-a456-426655440000'", "NULL")),
            rng.choice(("'::1'", "'2001:db8::ff00:42:8329'", "NULL")),
            rng.choice(("ST_GeomFromText('POINT(1 2)')", "ST_GeomFromText('LINESTRING(0 0, 1 1.5)', 4326)", "NULL")),
            f"X'{raw.hex()}'" if raw else "''",
            rng.choice(("X'00'", "X'27005C0A'", "'ab'", "NULL")),
            rng.choice(("'wïde'", "'😀'", "''", "NULL")),
            rng.choice(("X'D6D05C'", "'a'", "NULL")),
            rng.choice(("'é\\'\\\\'", "'\\0\\n\\r\\Z\\t\"'", "NULL")),
            rng.choice(("'  a '", "''", "DEFAULT", "'é'")),
            rng.choice(("'0000-00-00 00:00:00'", "'2024-02-31 10:00:00'", "'9999-12-31 23:59:59'")),
            rng.choice(("'0000-00-00'", "'2024-00-10'", "NULL")),
            rng.choice(("0", "42", "4294967295", "NULL")),
            rng.choice(("-12345678901234567890123456789012345.123456789012345678901234567890", "0", "NULL")),
            rng.choice(("1/3e0", "-1.2345678901234567e-308", "-0e0", "1.7976931348623157e308", "0.1", "NULL")),
            rng.choice(("1/3e0", "1.2345678", "-0e0", "3.4028234e38", "16777217", "NULL")),
            rng.choice(("'2025-10-26 00:30:00.123456'", "'2025-10-26 01:30:00'", "0", "NULL")),
            rng.choice(("5", "NULL")),
            rng.choice(("0", "39", "18446744073709551615", "b'101'", "NULL")),
            rng.choice(("0", "'0000'", "1970", "NULL")),
        ]
        made.append(f"INSERT INTO odd ({columns}) VALUES ({n % 13}, {n}, {', '.join(values)})")
    return made


class Pair:
    """A client of Turnout and one of the server that has everything."""

    def __init__(self, proxy: Turnout, mirror: MariaDB, **options: int) -> None:
        self.client = Client(proxy.port, APP, APP_PASSWORD, DATABASE, **options)
        self.mirror = Client(mirror.port, APP, APP_PASSWORD, DATABASE, **options)

    def run(self, *statements: str) -> None:
        for sql in statements:
            self.client.query(sql).checked()
            self.mirror.query(sql).checked()

    def same(self, sql: str, *, ordered: bool = False) -> Answer:
        """The answer, which is the same on both sides: values, columns, status, warnings, errors."""
        ours, theirs = self.client.query(sql), self.mirror.query(sql)
        said = f"{sql}\n  {ours}\n  instead of {theirs}"
        assert (ours.errno, ours.sqlstate) == (theirs.errno, theirs.sqlstate), said
        for mine, other in zip(ours.columns, theirs.columns, strict=True):
            assert alike(mine, other, "LEFT JOIN" in sql or "RIGHT JOIN" in sql), said + f"\n  {mine}\n  {other}"
        if ordered:
            assert ours.rows == theirs.rows, said
        else:
            assert sorted(map(repr, ours.rows)) == sorted(map(repr, theirs.rows)), said
        assert ours.status & 3 == theirs.status & 3, said
        return ours

    def close(self) -> None:
        self.client.abort()
        self.mirror.abort()


def alike(one: Column, other: Column, outer: bool) -> bool:
    """Whether two columns differ in what depends on a server's plan alone. By way of a temporary table of its own it
    forgets which table a column is of, with its defaults, and may forget NOT NULL; or it names an expression twice.
    Whether an outer join that is an inner one in truth makes columns nullable depends on what it finds empty."""
    if outer:
        one, other = (replace(each, flags=each.flags & ~1) for each in (one, other))
    if not (one.table and other.table and one.org_table and other.org_table):
        nothing = {"database": b"", "table": b"", "org_table": b"", "org_name": b""}
        one, other = (replace(each, flags=each.flags & ~(4096 | 8192 | 16384 | 3), **nothing) for each in (one, other))
    return _column(one) == _column(other)


def prepare_filled(run: Run, shop: Shop) -> tuple[Turnout, MariaDB]:
    """With a workbench on main, and the first rows on both sides."""
    made = prepare(run, shop, "{cluster: main}")
    pair = Pair(*made)
    pair.run(*inserts())
    pair.close()
    return made


def prepare(run: Run, shop: Shop, workbench: str) -> tuple[Turnout, MariaDB]:
    """Empty tables everywhere, a Turnout over them, and the mirror."""
    mirror = run.mariadb("workbench-everything")
    mirror.create_account(APP, APP_PASSWORD)
    mirror.execute(f"CREATE DATABASE {DATABASE}")
    servers = [shop.server(name) for name in CLUSTERS]
    shop.recreate()
    for server in (mirror, *servers):
        server.execute(*SCHEMA, database=DATABASE)
    proxy = run.turnout(RULES.format(servers=shop.rules(*CLUSTERS), workbench=workbench))
    return proxy, mirror
