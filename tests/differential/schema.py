"""Twelve tables in every place that a table can have, with columns of every kind, and their rows.

Of the values in a string's column no two are equal and yet different, so that DISTINCT, MIN and the like are certain.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from tests.servers.shop import DATABASE

SHARDS = 4
CLUSTERS = ("main", "media", *(f"shard{n}" for n in range(SHARDS)))
RULES = """\
{servers}
shardings:
  by_customer: {{method: hash, clusters: [shard0, shard1, shard2, shard3]}}
  by_account: {{method: hash, clusters: [shard0, shard1, shard2, shard3]}}
  by_login: {{method: hash, clusters: [shard0, shard1, shard2, shard3]}}
  by_year: {{method: range, ranges: [{{below: 2020, cluster: shard0}}, {{below: 2023, cluster: shard1}}, \
{{cluster: shard2}}]}}
  by_region: {{method: list, values: {{shard0: [de], shard1: [fr], shard3: [it, es]}}, default: shard2}}
databases:
  shop:
    home: main
    tables:
      customers: {{sharding: by_customer, key: id}}
      orders: {{sharding: by_customer, key: customer_id}}
      order_lines: {{sharding: by_customer, key: customer_id}}
      accounts: {{sharding: by_account, key: id}}
      logins: {{sharding: by_login, key: login}}
      events: {{sharding: by_year, key: year}}
      stores: {{sharding: by_region, key: region}}
      countries: {{everywhere: true}}
      kinds: {{everywhere: true}}
      photos: {{cluster: media}}
transactions: {transactions}
workbench: {{cluster: main}}
workers: {workers}
health: {{timeout: 30s, connect_timeout: 30s}}
"""


@dataclass(frozen=True)
class Column:
    """`kind`: int, big (sums could overflow), dec, dbl, str, bin, date, dt, time, year, enum, set, json or bit."""

    name: str
    kind: str
    sql: str  # its type
    values: tuple[str, ...]  # literals
    nullable: bool = True


@dataclass(frozen=True)
class Table:
    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]  # primary; unique over all shards
    shard_key: str = ""
    rows: int = 60
    place: str = "sharded"  # sharded, everywhere, media, home
    indexes: str = ""

    def column(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)

    @property
    def create(self) -> str:
        columns = [f"{c.name} {c.sql}{'' if c.nullable else ' NOT NULL'}" for c in self.columns]
        keys = f"PRIMARY KEY ({', '.join(self.key)}){self.indexes}"
        return f"CREATE TABLE {self.name} ({', '.join(columns)}, {keys})"


def _int(name: str, low: int, high: int, sql: str = "INT", nullable: bool = True, kind: str = "int") -> Column:
    return Column(name, kind, sql, tuple(map(str, range(low, high))), nullable)


def _quoted(*values: str) -> tuple[str, ...]:
    return tuple("'" + value.replace("\\", "\\\\").replace("'", "''") + "'" for value in values)


_MONEY = ("0.00", "1.50", "-3.25", "12.10", "99.99", "100.00", "-0.05", "7.77", "1234.56", "20.00")
_QUARTERS = ("0", "0.25", "-1.5", "2.75", "100.5", "-8", "1024.25", "3")
_DATES = _quoted("2024-02-29", "2023-12-31", "2024-01-01", "1999-12-31", "2020-06-15", "2024-03-01", "2022-07-04")
_TIMES = _quoted(
    *("2024-02-29 10:00:00", "2024-02-29 10:00:01", "2023-12-31 23:59:59", "2020-06-15 00:00:00"),
    *("2022-07-04 12:30:45", "2024-03-31 02:30:00", "1999-12-31 00:00:01"),
)
_FINE = _quoted("2024-02-29 10:00:00.125", "2024-02-29 10:00:00.5", "2021-01-01 00:00:00", "2022-07-04 12:30:45.999")
_NAMES = _quoted(
    *("Anna", "bob", "Çelik", "dora d", "Émile", "", "o'Neil", "x_y", "100%", "a\\b", "Žaneta", "mañana", "zz top"),
    *("日本", "😀 face", "ab", "abc", "abcd", "A-Z", "q"),
)
_PLAIN = _quoted("alpha", "Beta", "gamma", "delta x", "", "eps_ilon", "zeta%", "eta", "theta", "iota")
_CASED = _quoted("a", "A", "b", "B", "aa", "Aa", "", "é", "E", "z z", "x_y", "%")
_JSON = _quoted('{"a": 1, "b": [1, 2, 3]}', '{"a": "x", "c": null}', "[]", '[1, "two", 3.5]', "7", '"text"', "null")
_LOGINS = _quoted(*(f"user{n}" for n in range(30)), "Zoe", "ANNE", "x y")
_BYTES = ("X'00'", "X'FF10'", "X'616263'", "''", "X'5C27'", "X'E29883'", "X'0A0D'")

TABLES: tuple[Table, ...] = (
    Table(
        "customers",
        (
            _int("id", -6, 34, nullable=False),
            Column("name", "str", "VARCHAR(30) COLLATE utf8mb4_unicode_ci", _NAMES, False),
            Column("balance", "dec", "DECIMAL(12,2)", _MONEY, False),
            Column("born", "date", "DATE", _DATES),
            Column("region", "str", "CHAR(2)", _quoted("de", "fr", "it", "es", "us", "pt"), False),
            Column("score", "dbl", "DOUBLE", _QUARTERS),
            _int("level", 0, 5, "TINYINT"),
        ),
        ("id",),
        "id",
        40,
    ),
    Table(
        "orders",
        (
            _int("customer_id", -6, 34, nullable=False),
            _int("id", 1, 200, nullable=False),
            Column("total", "dec", "DECIMAL(10,2)", _MONEY),
            Column("placed", "dt", "DATETIME(3)", _FINE, False),
            Column("state", "enum", "ENUM('new','paid','sent','lost')", _quoted("new", "paid", "sent", "lost")),
            Column("note", "str", "VARCHAR(40) COLLATE utf8mb4_bin", _CASED),
            _int("qty", -3, 12, "SMALLINT"),
        ),
        ("customer_id", "id"),
        "customer_id",
        90,
        indexes=", KEY (state), KEY (qty)",
    ),
    Table(
        "order_lines",
        (
            _int("customer_id", -6, 34, nullable=False),
            _int("order_id", 1, 200, nullable=False),
            _int("line", 1, 5, "TINYINT UNSIGNED", False, "big"),
            _int("kind", 0, 12),
            _int("amount", 1, 30, nullable=False),
            Column("price", "dec", "DECIMAL(8,3)", ("0.125", "1.000", "19.995", "3.333", "250.000")),
        ),
        ("customer_id", "order_id", "line"),
        "customer_id",
        120,
        indexes=", KEY (kind)",
    ),
    Table(
        "accounts",
        (
            Column(
                "id",
                "big",
                "BIGINT UNSIGNED",
                (*map(str, range(1, 30)), "18446744073709551615", "9223372036854775808", "4294967296"),
                False,
            ),
            _int("owner", -6, 34),
            Column("flags", "set", "SET('a','b','c')", _quoted("a", "b,c", "", "a,b,c", "c")),
            Column("opened", "dt", "TIMESTAMP NULL", _TIMES),
            Column("ceiling", "dbl", "FLOAT", _QUARTERS),
            Column("label", "str", "VARCHAR(20) CHARACTER SET latin1", _PLAIN),
            Column("mask", "bit", "BIT(9)", ("b'0'", "b'101'", "b'111111111'", "b'10'", "b'1010'")),
        ),
        ("id",),
        "id",
        30,
        indexes=", KEY (owner)",
    ),
    Table(
        "logins",
        (
            Column(
                "login", "str", "VARCHAR(20)", _quoted(*(f"user{n}" for n in range(30)), "Zoe", "ANNE", "x y"), False
            ),
            _int("customer_id", -6, 34),
            Column("seen", "time", "TIME(2)", _quoted("10:00:00", "-01:30:00.25", "23:59:59.99", "100:00:00"), True),
            Column("secret", "bin", "VARBINARY(16)", _BYTES),
            Column("prefs", "json", "JSON", _JSON),
        ),
        ("login",),
        "login",
        30,
        indexes=", KEY (customer_id)",
    ),
    Table(
        "events",
        (
            _int("year", 2017, 2027, "SMALLINT", False),
            _int("id", 1, 60, nullable=False),
            Column("at", "dt", "DATETIME", _TIMES),
            Column("what", "str", "VARCHAR(12) COLLATE utf8mb4_general_ci", _PLAIN, False),
            Column("data", "bin", "BLOB", _BYTES),
            Column("value", "dec", "DECIMAL(20,6)", ("0.000001", "-5.500000", "123456.789012", "42.000000")),
        ),
        ("year", "id"),
        "year",
        80,
    ),
    Table(
        "stores",
        (
            Column("region", "str", "CHAR(2)", _quoted("de", "fr", "it", "es", "us", "pt"), False),
            _int("id", 1, 12, nullable=False),
            Column("name", "str", "VARCHAR(30) COLLATE utf8mb4_unicode_520_ci", _NAMES),
            Column("opened", "year", "YEAR", ("1999", "2010", "2020", "2024")),
            _int("size", 0, 40, "MEDIUMINT UNSIGNED", True, "big"),
        ),
        ("region", "id"),
        "region",
        30,
    ),
    Table(
        "countries",
        (
            Column("code", "str", "CHAR(2)", _quoted("de", "fr", "it", "es", "us"), False),
            Column("name", "str", "VARCHAR(30) COLLATE utf8mb4_unicode_ci", _NAMES, False),
            Column("people", "big", "BIGINT", ("83000000", "67000000", "0", "-1")),
        ),
        ("code",),
        rows=5,
        place="everywhere",
    ),
    Table(
        "kinds",
        (_int("i", 0, 12, nullable=False), Column("kind", "str", "VARCHAR(20)", _PLAIN), _int("parent", 0, 12)),
        ("i",),
        rows=12,
        place="everywhere",
    ),
    Table(
        "photos",
        (
            _int("id", 1, 80, nullable=False),
            _int("customer_id", -6, 34),
            Column("title", "str", "TEXT", _PLAIN),
            Column("taken", "date", "DATE", _DATES),
            _int("size", 0, 40, "INT UNSIGNED", True, "big"),
            Column("thumb", "bin", "TINYBLOB", _BYTES),
        ),
        ("id",),
        rows=60,
        place="media",
        indexes=", KEY (customer_id)",
    ),
    Table(
        "staff",
        (
            _int("id", 1, 25, nullable=False),
            _int("boss", 1, 25),
            Column("name", "str", "VARCHAR(30) COLLATE utf8mb4_unicode_ci", _NAMES, False),
            Column("salary", "dec", "DECIMAL(9,2)", _MONEY),
            Column("hired", "date", "DATE", _DATES, False),
        ),
        ("id",),
        rows=20,
        place="home",
    ),
    Table(
        "settings",
        (
            Column("name", "str", "VARCHAR(20) CHARACTER SET latin1 COLLATE latin1_bin", _PLAIN, False),
            _int("value", -5, 20),
            Column("note", "str", "VARCHAR(40) COLLATE utf8mb4_unicode_nopad_ci", _PLAIN),
        ),
        ("name",),
        rows=8,
        place="home",
    ),
)
BY_NAME = {table.name: table for table in TABLES}


def value(rng: random.Random, column: Column) -> str:
    return "NULL" if column.nullable and rng.random() < 0.15 else rng.choice(column.values)


def row(rng: random.Random, table: Table) -> tuple[str, ...]:
    return tuple(value(rng, column) for column in table.columns)


def inserts(seed: int = 3) -> list[str]:
    """Statements that put the first rows into all tables."""
    rng = random.Random(seed)
    made = ["SET time_zone = '+00:00'"]
    for table in TABLES:
        rows: dict[tuple[str, ...], tuple[str, ...]] = {}
        positions = [table.columns.index(table.column(name)) for name in table.key]
        while len(rows) < table.rows:
            new = row(rng, table)
            if table.name == "staff":  # a tree
                number = len(rows) + 1
                new = (str(number), str(number // 2) if number > 1 else "NULL", *new[2:])
            rows[tuple(new[at] for at in positions)] = new
        made.append(f"INSERT INTO {table.name} VALUES " + ", ".join(f"({', '.join(each)})" for each in rows.values()))
    return made


def deletes() -> list[str]:
    return [f"DELETE FROM {table.name}" for table in TABLES]


assert DATABASE == "shop"  # as RULES has it
