"""SELECTs over three shards that sort, limit, group: the same rows, order and columns as on one server with everything.

Rows that are ties may come in any order, and of strings that are equal any may be shown: what is equal, and what comes
first, is asked of the server that has everything (`DENSE_RANK`).
"""

from __future__ import annotations

import itertools
import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from proxy.front.merge import comparable
from proxy.wire.column import ColumnDefinition
from tests.front.conftest import end
from tests.front.raw import Answer, Client, Column
from tests.servers import MariaDB, Run, Shop, Turnout
from tests.servers.shop import APP, APP_PASSWORD, DATABASE, OPS, OPS_PASSWORD
from tests.sizes import seed

pytestmark = pytest.mark.servers
SEED = seed()
STEPS = int(os.environ.get("TURNOUT_STEPS", "150"))
SHARDS = 3
ROWS = 240

RULES = """\
{servers}
shardings:
  by_k: {{method: hash, clusters: [shard0, shard1, shard2]}}
  by_region: {{method: list, values: {{shard0: [a], shard1: [b]}}, default: shard2}}
databases:
  shop:
    home: main
    tables:
      things: {{sharding: by_k, key: k}}
      parts: {{sharding: by_k, key: k}}
      empty: {{sharding: by_k, key: k}}
      places: {{sharding: by_region, key: region}}
      kinds: {{everywhere: true}}
transactions: best_effort
health: {{timeout: 30s, connect_timeout: 30s}}
"""
THINGS = """\
 (k INT, id INT, i INT, u BIGINT UNSIGNED, n DECIMAL(12,3), f FLOAT, g DOUBLE, day DATE, at DATETIME(2), ts TIMESTAMP
 NULL, t TIME(1), y YEAR, e ENUM('z', 'm', 'a'), s SET('x', 'b', 'c'), bits BIT(9), general VARCHAR(30), uni VARCHAR(30)
 COLLATE utf8mb4_unicode_ci, bin VARCHAR(30) COLLATE utf8mb4_bin, latin VARCHAR(30) CHARACTER SET latin1 COLLATE
 latin1_swedish_ci, nopad VARCHAR(30) COLLATE utf8mb4_unicode_nopad_ci, uca VARCHAR(30) COLLATE utf8mb4_uca1400_ai_ci,
 ch CHAR(8) COLLATE utf8mb4_unicode_520_ci, raw VARBINARY(20), body TEXT CHARACTER SET utf8mb3 COLLATE utf8mb3_bin,
 PRIMARY KEY (k, id), KEY (i), KEY (general))""".replace("\n", "")
SCHEMA = (
    f"CREATE TABLE things {THINGS}",
    f"CREATE TABLE empty {THINGS}",
    "CREATE TABLE parts (k INT, part INT, of_id INT, price DECIMAL(8,2), PRIMARY KEY (k, part))",
    "CREATE TABLE places (region VARCHAR(5), id INT, name VARCHAR(20) COLLATE utf8mb4_unicode_ci, "
    "PRIMARY KEY (region, id))",
    "CREATE TABLE kinds (i INT PRIMARY KEY, kind VARCHAR(20))",
)
STRINGS = {
    **dict.fromkeys(("general", "uni", "bin"), "utf8mb4"),
    "latin": "latin1",
    **dict.fromkeys(("nopad", "uca", "ch"), "utf8mb4"),
    "raw": "binary",
    "body": "utf8mb3",
}  # the columns' names and character sets
EXACT = ("i", "u", "n", "f", "g", "day", "at", "ts", "t", "y", "e", "s", "bits")
COMPUTED = {
    "i * 2": False,
    "n + 1.5": False,
    "i DIV 3": False,
    "g * 2": False,
    "-i": False,
    "ABS(i)": False,
    "LENGTH(bin)": False,
    "YEAR(day)": False,
    "DATE(at)": False,
    "IFNULL(i, 0)": False,
    "CASE WHEN i > 5 THEN n END": False,
    "i > 5": False,
    "i > 5 OR n < 0": False,
    "general IS NULL": False,
    "UPPER(general)": True,
    "LEFT(uni, 2)": True,
    "CONCAT(bin, latin)": True,
    "COALESCE(general, 'zz')": True,
    "latin COLLATE latin1_general_cs": True,
    "CONVERT(latin USING utf8mb4) COLLATE utf8mb4_general_ci": True,
    "DATE_FORMAT(at, '%Y-%m')": True,
    "HEX(bin)": True,
}
TEXTS = (
    *("", " ", "  ", "a", "A", "a ", "A  ", "a\t", "a\x01", "a\x1f b", "ab", "AB", "a b", "a  b", "a\tb", "aB c", "aa"),
    *(
        "á",
        "Ä",
        "å",
        "Å",
        "b",
        "B",
        "z",
        "Z",
        "ø",
        "o",
        "ß",
        "ss",
        "é",
        "e",
        "_",
        "-",
        "0",
        "9",
        "10",
        "é ",
        "a-b",
        "a_b",
    ),
    *("ae", "æ", "AE", "\xad", "a\xad", "zz", "co", "ch", "ll", "ñ", "n", "Ñ", "!", "~", "a!", "a~"),
)
WIDE_TEXTS = (
    "😀",
    "a😀",
    "中",
    "中文",
    "ﬀ",
    "ff",
    "č",
    "c",
    "Č",
    "ı",
    "I",
    "i",
    "İ",
    "ſ",
    "Ω",
    "ω",
    "a\u0301",
    "\u200b",
)


def _literal(value: str | None, charset: str) -> str:
    if value is None:
        return "NULL"
    if charset == "binary":
        return f"X'{value.encode().hex()}'" if value else "''"
    return f"CONVERT(X'{value.encode().hex()}' USING utf8mb4)" if value else "''"


def _row(rng: random.Random, k: int, number: int) -> str:
    def maybe(value: object) -> str:
        return "NULL" if rng.random() < 0.15 else str(value)

    values = [
        str(k),
        str(number),
        maybe(rng.randrange(-3, 12)),
        maybe(rng.choice((0, 1, 7, 1 << 63, (1 << 64) - 1))),
        maybe(rng.choice(("0", "-1.5", "1.500", "10.25", "-0.001", "123456789.125"))),
        maybe(rng.choice((0.1, 1.2345678, 1.2345679, -3.5, 1e20, 0))),
        maybe(rng.choice((0.1, 1 / 3, -2.5, 1e300, 0, 123456.789))),
        maybe(rng.choice(("'2024-02-29'", "'1999-12-31'", "'2024-03-01'", "'0000-00-00'"))),
        maybe(rng.choice(("'2024-02-29 10:00:00.25'", "'2024-02-29 10:00:00.2'", "'1970-01-01 00:00:00'"))),
        maybe(rng.choice(("'2024-02-29 10:00:00'", "'2025-10-26 00:30:00'", "'2025-10-26 01:30:00'"))),
        maybe(rng.choice(("'-10:00:00'", "'-09:59:59.9'", "'00:00:00'", "'99:00:00'", "'838:59:59'", "'100:00:00.1'"))),
        maybe(rng.choice((1970, 2024, 1901, 0))),
        maybe(rng.choice(("'z'", "'m'", "'a'"))),
        maybe(rng.choice(("'x'", "'b'", "'c'", "'x,c'", "''", "'b,c'"))),
        maybe(rng.choice((0, 1, 255, 256, 511))),
    ]
    for charset in STRINGS.values():
        texts = (
            TEXTS
            if charset == "latin1"
            else TEXTS
            + tuple(t for t in WIDE_TEXTS if charset != "utf8mb3" or len(t.encode("utf-16-le")) == 2 * len(t))
        )
        values.append(_literal(None if rng.random() < 0.1 else rng.choice(texts), charset))
    return f"({', '.join(values)})"


def _insert() -> list[str]:
    rng = random.Random(11)
    columns = "k, id, i, u, n, f, g, day, at, ts, t, y, e, s, bits, " + ", ".join(STRINGS)
    rows = [_row(rng, rng.randrange(40), number) for number in range(ROWS)]
    parts = ", ".join(
        f"({rng.randrange(40)}, {n}, {rng.randrange(ROWS)}, {rng.randrange(900) / 100})" for n in range(120)
    )
    places = ", ".join(f"('{'abcd'[n % 4]}', {n}, '{rng.choice(('x', 'X', 'y', 'é', 'e '))}')" for n in range(24))
    return [
        "SET time_zone = '+00:00'",
        *(f"INSERT INTO things ({columns}) VALUES {', '.join(rows[at : at + 40])}" for at in range(0, ROWS, 40)),
        f"INSERT INTO parts VALUES {parts}",
        f"INSERT INTO places VALUES {places}",
        "INSERT INTO kinds VALUES " + ", ".join(f"({n}, 'kind {n % 3}')" for n in range(-3, 12)),
    ]


class Pair:
    """A client of Turnout and one of the server that has everything. `streamed` is another one of Turnout, whose
    results are limited: its answers are merged as streams, even where they could be put together at once."""

    def __init__(self, proxy: Turnout, mirror: MariaDB) -> None:
        self.proxy = proxy
        self.client = Client(proxy.port, APP, APP_PASSWORD, DATABASE)
        self.streamed = Client(proxy.port, OPS, OPS_PASSWORD, DATABASE)
        self.mirror = Client(mirror.port, APP, APP_PASSWORD, DATABASE)
        self._turns = itertools.cycle((self.client, self.streamed))
        self._ranks: dict[str, dict[bytes | None, bytes | None]] = {}

    def run(self, *statements: str) -> None:
        for sql in statements:
            self.client.run(sql)
            if not sql.startswith("INSERT"):
                self.streamed.run(sql)
            self.mirror.run(sql)

    def both(self, sql: str) -> tuple[Answer, Answer]:
        """The two answers, whose columns, numbers and flags are the same."""
        ours, theirs = next(self._turns).query(sql), self.mirror.query(sql)
        assert not ours.errno or theirs.errno, f"{sql}\n  {ours}\n  instead of {theirs}"
        assert (ours.errno, ours.sqlstate) == (theirs.errno, theirs.sqlstate), f"{sql}\n  {ours}\n  instead of {theirs}"
        assert list(map(_column, ours.columns)) == list(map(_column, theirs.columns)), sql
        assert len(ours.rows) == len(theirs.rows), f"{sql}\n  {ours}\n  instead of {theirs}"
        assert ours.status & 3 == theirs.status & 3, sql
        return ours, theirs

    def rank(self, expression: str, value: bytes | None) -> bytes | None:
        """What stands for all values of a string expression that are equal to this one."""
        if expression not in self._ranks:
            sql = f"SELECT {expression}, DENSE_RANK() OVER (ORDER BY {expression}) FROM things"
            self._ranks[expression] = {row[0]: row[1] for row in self.mirror.query(sql).checked().rows}
        return self._ranks[expression].get(value, b"?")

    def close(self) -> None:
        for client in (self.client, self.streamed, self.mirror):
            client.abort()


# What depends on whether a server uses a temporary table: flags for keys, BLOB and BINARY, decimals of texts, and the
# lengths of BLOB and DOUBLE.
_PLAN_FLAGS = 2 | 4 | 8 | 16 | 512 | 16384 | 32768
_TEXT_TYPES = (15, 249, 250, 251, 252, 253, 254)


def _column(column: Column) -> Column:
    length = 0 if column.type in (5, 252) else column.length
    if column.type in _TEXT_TYPES:
        return replace(column, flags=column.flags & ~_PLAN_FLAGS, decimals=0, length=length)
    return replace(column, flags=column.flags & ~(_PLAN_FLAGS | 128), length=length)


def test_kinds_of_text_need_not_agree() -> None:
    """WEIGHT_STRING(CONCAT(..)) is a BLOB on a shard that sorts by way of a temporary table, else VARBINARY."""
    text = ColumnDefinition(b"def", b"", b"", b"", b"a", b"", 63, 672, 253, 128, 0)
    assert comparable(text) == comparable(replace(text, type=252, length=65535, decimals=39))
    for other in ({"charset": 45}, {"name": b"b"}, {"table": b"t"}, {"flags": 128 | 32}, {"type": 246}):
        assert comparable(text) != comparable(replace(text, **other))
    assert comparable(text) == comparable(replace(text, type=254, flags=128 | 256))  # MIN(an ENUM)
    column = replace(text, org_name=b"a")
    assert comparable(column) != comparable(replace(column, type=254, flags=128 | 256))
    number = replace(text, length=12, type=246, flags=0, decimals=2)
    assert comparable(number) == comparable(replace(number, length=13))
    for other in ({"decimals": 3}, {"type": 3}, {"flags": 32}):
        assert comparable(number) != comparable(replace(number, **other))


@pytest.fixture(scope="module")
def pair(run: Run, shop_servers: Shop) -> Iterator[Pair]:
    mirror = run.mariadb("merge-everything")
    mirror.create_account(APP, APP_PASSWORD)
    mirror.execute(f"CREATE DATABASE {DATABASE}")
    shards = [shop_servers.shard(n) for n in range(SHARDS)]
    shop_servers.main.execute("SELECT 1")
    shop_servers.recreate()
    for server in (shop_servers.main, mirror, *shards):
        server.execute(*SCHEMA, database=DATABASE)
        server.execute("SET GLOBAL max_allowed_packet = 67108864")  # for connections opened from now on
    rules = RULES.format(servers=shop_servers.rules("main", *(f"shard{n}" for n in range(SHARDS))))
    proxy = run.turnout(rules.replace("admin: true", "admin: true, result_rows: 1000000"))
    made = Pair(proxy, mirror)
    made.run(*_insert())
    yield made
    made.close()
    end(proxy)


@dataclass
class Ordered:
    """A generated SELECT: `keys` are its ORDER BY in terms of columns alone."""

    sql: str
    keys: str
    source: str


def _expression(rng: random.Random) -> str:
    return rng.choice((rng.choice(EXACT), rng.choice(tuple(STRINGS)), rng.choice(tuple(COMPUTED))))


def _ordered(rng: random.Random) -> Ordered:
    items = [_expression(rng) for _ in range(rng.randrange(4))]
    written = [f"{item} AS a{n}" if rng.random() < 0.4 else item for n, item in enumerate(items)]
    written += ["k", "id"]
    items += ["k", "id"]
    star = rng.random() < 0.15
    order, keys = [], []
    for _ in range(rng.randrange(1, 4)):
        direction = rng.choice(("", "", " DESC", " ASC"))
        if rng.random() < 0.5 and not star:
            n = rng.randrange(len(items))
            how = rng.choice((str(n + 1), items[n], f"a{n}" if written[n].endswith(f" AS a{n}") else items[n]))
            order.append(how + direction)
            keys.append(items[n] + direction)
        else:
            expression = _expression(rng)
            order.append(expression + direction)
            keys.append(expression + direction)
    where = rng.choice(
        ("", "", " WHERE i > 3", " WHERE k IN (1, 2, 3, 4)", " WHERE general LIKE 'a%'", " WHERE i = 99")
    )
    where = rng.choice((where, " WHERE k IN (5, 6) AND e IS NOT NULL", where))
    source = rng.choice(("things", "things", "things", "things", "empty")) + where
    limit = rng.choice(
        ("", "", " LIMIT 7", " LIMIT 5 OFFSET 3", " LIMIT 4, 20", " LIMIT 0", " LIMIT 1000", " LIMIT 300, 5")
    )
    what = "*" if star else ", ".join(written)
    return Ordered(f"SELECT {what} FROM {source} ORDER BY {', '.join(order)}{limit}", ", ".join(keys), source)


def test_sorted_rows_at_random(pair: Pair) -> None:
    rng = random.Random(SEED)
    print(f"TURNOUT_SEED={SEED} TURNOUT_STEPS={STEPS}")
    for _ in range(STEPS):
        made = _ordered(rng)
        ours, theirs = pair.both(made.sql)
        names = [column.name for column in ours.columns]
        at = [names.index(b"k"), names.index(b"id")] if "SELECT *" in made.sql else [len(names) - 2, len(names) - 1]
        ranked = pair.mirror.query(
            f"SELECT k, id, DENSE_RANK() OVER (ORDER BY {made.keys}) FROM {made.source}"
        ).checked()
        rank = {row[:2]: row[2] for row in ranked.rows}
        whole = pair.mirror.query(made.sql.partition(" ORDER BY ")[0]).checked()
        by_id = {tuple(row[n] for n in at): row for row in whole.rows}
        found = [[tuple(row[n] for n in at) for row in answer.rows] for answer in (ours, theirs)]
        ranks = [[rank[each] for each in ids] for ids in found]
        assert ranks[0] == ranks[1], f"{made.sql}\n  {ours}\n  instead of {theirs}"
        assert [by_id[each] for each in found[0]] == list(ours.rows), made.sql
        assert len(set(found[0])) == len(found[0]), made.sql


def test_distinct_rows_at_random(pair: Pair) -> None:
    """Expressions are sorted by their places: DISTINCT .. ORDER BY UPPER(a), b loses rows on MariaDB 10.11 itself."""
    rng = random.Random(SEED)
    print(f"TURNOUT_SEED={SEED} TURNOUT_STEPS={STEPS}")
    for _ in range(STEPS):
        items = list(dict.fromkeys(_expression(rng) for _ in range(rng.randrange(1, 4))))
        items = ["bits + 0" if item == "bits" else item for item in items]
        order = rng.sample(range(len(items)), rng.randrange(len(items) + 1))
        sql = f"SELECT DISTINCT {', '.join(items)} FROM things"
        if order:
            sql += " ORDER BY " + ", ".join(
                rng.choice((str(n + 1) if items[n] in COMPUTED else items[n], str(n + 1))) + rng.choice(("", " DESC"))
                for n in order
            )
            if len(order) == len(items):
                sql += rng.choice(("", " LIMIT 5", " LIMIT 3, 4"))
        ours, theirs = pair.both(sql)

        def plain(answer: Answer, items: list[str] = items) -> list[tuple[bytes | None, ...]]:
            return [
                tuple(
                    pair.rank(item, value) if COMPUTED.get(item, item in STRINGS) else value
                    for item, value in zip(items, row)
                )
                for row in answer.rows
            ]

        assert Counter(plain(ours)) == Counter(plain(theirs)), f"{sql}\n  {ours}\n  instead of {theirs}"
        assert [tuple(row[n] for n in order) for row in plain(ours)] == [
            tuple(row[n] for n in order) for row in plain(theirs)
        ], f"{sql}\n  {ours}\n  instead of {theirs}"


AGGREGATES = (
    *(
        "COUNT(*)",
        "COUNT(i)",
        "COUNT(general)",
        "COUNT(ALL n)",
        "COUNT(DISTINCT k)",
        "COUNT(DISTINCT i, k)",
        "COUNT(1)",
    ),
    *("SUM(i)", "SUM(n)", "SUM(u)", "SUM(n * 1.123456)", "SUM(i > 5)", "SUM(-n)", "SUM(y)", "SUM(LENGTH(bin))"),
    *("AVG(i)", "AVG(n)", "AVG(u)", "AVG(n * 1.12)", "AVG(n * 1.123)", "AVG(n * 1.1234567)", "AVG(i > 5)", "AVG(-i)"),
    *(f"{how}({x})" for how in ("MIN", "MAX") for x in (*EXACT, *STRINGS) if x not in ("e", "s", "bits", "f")),
    *("MIN(DISTINCT i)", "MAX(UPPER(general))", "MIN(n + 1.5)", "MAX(DATE(at))", "MIN(IFNULL(i, 0))", "MAX(i * 2)"),
)
HAVINGS = (
    " HAVING COUNT(*) > 2",
    " HAVING SUM(i) >= 5 AND MAX(n) < 10.26",
    " HAVING MIN(i) <> -1",
    " HAVING SUM(n * 1.5) != 2.25 AND COUNT(i) <= 3",
)
WHERES = ("", "", " WHERE i > 3", " WHERE k IN (1, 2, 3, 4)", " WHERE i = 99", " WHERE k = 3", " WHERE general > 'b'")


def _inside(item: str) -> str:
    """The string expression that an item's values are values of; "" if they are no strings."""
    inner = item[4:-1] if item[:4] in ("MIN(", "MAX(") else item
    return inner if COMPUTED.get(inner, inner in STRINGS) else ""


def test_groups_at_random(pair: Pair) -> None:
    rng = random.Random(SEED)
    print(f"TURNOUT_SEED={SEED} TURNOUT_STEPS={STEPS}")
    for step in range(STEPS):
        if not step % 50:
            strict = rng.random() < 0.5
            pair.run(f"SET sql_mode = '{'ONLY_FULL_GROUP_BY' if strict else ''}'")
        by = list(dict.fromkeys(_expression(rng) for _ in range(rng.choice((0, 1, 1, 1, 2)))))
        by = ["bits + 0" if item == "bits" else item for item in by]
        if rng.random() < 0.15:
            by.append("k")
        items = [item for item in by if rng.random() < 0.8] + rng.sample(AGGREGATES, rng.randrange(1, 4))
        rng.shuffle(items)
        written = [f"{item} AS a{n}" if rng.random() < 0.3 else item for n, item in enumerate(items)]
        table = rng.choice(("things", "things", "things", "empty"))
        sql = f"SELECT {', '.join(written)} FROM {table}{rng.choice(WHERES)}"
        if by:
            names = [rng.choice((x, str(items.index(x) + 1))) if x in items and x != "k" else x for x in by]
            sql += f" GROUP BY {', '.join(names)}"
        if "k" in by:
            sql += rng.choice(("", " HAVING COUNT(*) > 2", " HAVING MIN(i) < 4 OR k = 3"))
        elif by:
            sql += rng.choice(("", *HAVINGS))
        order = [n for n in rng.sample(range(len(items)), rng.randrange(len(items) + 1)) if by]
        if order:
            named = [(str(n + 1), f"a{n}" if written[n].endswith(f" AS a{n}") else items[n]) for n in range(len(items))]
            sql += " ORDER BY " + ", ".join(rng.choice(named[n]) + rng.choice(("", " DESC")) for n in order)
        if len(order) == len(items) or not by:
            sql += rng.choice(("", " LIMIT 5", " LIMIT 3, 4"))
        ours, theirs = pair.both(sql)

        def plain(answer: Answer, items: list[str] = items) -> list[tuple[bytes | None, ...]]:
            return [
                tuple(pair.rank(_inside(item), value) if _inside(item) else value for item, value in zip(items, row))
                for row in answer.rows
            ]

        assert Counter(plain(ours)) == Counter(plain(theirs)), f"{sql}\n  {ours}\n  instead of {theirs}"
        assert [tuple(row[n] for n in order) for row in plain(ours)] == [
            tuple(row[n] for n in order) for row in plain(theirs)
        ], f"{sql}\n  {ours}\n  instead of {theirs}"
    pair.run("SET sql_mode = DEFAULT")


def test_numbers_of_rows_and_what_the_session_remembers(pair: Pair) -> None:
    def same(sql: str) -> Answer:
        ours, theirs = pair.client.query(sql), pair.mirror.query(sql)
        assert (ours.rows, ours.warnings, ours.errno) == (theirs.rows, theirs.warnings, theirs.errno), sql
        return ours

    for sql in (
        "SELECT k, id FROM things ORDER BY k, id LIMIT 7",
        "SELECT SQL_CALC_FOUND_ROWS k, id FROM things WHERE i > 2 ORDER BY k, id LIMIT 3, 5",
        "SELECT SQL_CALC_FOUND_ROWS k, id FROM things ORDER BY k DESC, id LIMIT 0",
        "SELECT SQL_CALC_FOUND_ROWS k, id FROM things WHERE k = 99 ORDER BY k LIMIT 1",
        "SELECT SQL_CALC_FOUND_ROWS k, id FROM things WHERE k IN (1, 2, 3) ORDER BY 1, 2 LIMIT 2",
        "SELECT SQL_CALC_FOUND_ROWS k, id FROM things ORDER BY k, id",
        "SELECT DISTINCT k FROM things ORDER BY k LIMIT 4",
        "SELECT DISTINCT 1 FROM things",
        "SELECT DISTINCT NULL, 'a' FROM things ORDER BY 1 LIMIT 3",
        "SELECT DISTINCT TRUE FROM things WHERE k = 99",
        "SELECT SQL_CALC_FOUND_ROWS DISTINCT 1 FROM things",
    ):
        same(sql)
        same("SELECT FOUND_ROWS()")
    for sql in ("SELECT DISTINCT 1 FROM things LIMIT 0", "SELECT DISTINCT 1 FROM things LIMIT 3 OFFSET 1"):
        same(sql)
    assert len(pair.client.run("SELECT SQL_CALC_FOUND_ROWS id FROM things LIMIT 4").rows) == 4
    assert pair.client.run("SELECT FOUND_ROWS()").number == ROWS
    assert same("SELECT id, 1 / (i - i) FROM things WHERE i IS NOT NULL AND k < 3 ORDER BY id").warnings
    same("SELECT k FROM things ORDER BY 9")
    same("SELECT nosuch FROM things ORDER BY 1")
    same("SELECT k FROM things ORDER BY nosuch")
    pair.client.run("BEGIN")
    for _ in range(5):
        assert len(pair.client.run("SELECT id FROM things LIMIT 2").rows) == 2
        assert len(pair.client.run("SELECT id, k FROM things ORDER BY 1 LIMIT 1 FOR UPDATE").rows) == 1
    pair.client.run("COMMIT")
    assert pair.client.run("SELECT id FROM things ORDER BY id DESC LIMIT 1").number == ROWS - 1


def test_a_clock_that_stands_still_does_so_on_every_shard(pair: Pair) -> None:
    for value in ("1000000000.5", "UNIX_TIMESTAMP('2019-05-05 01:02:03')"):
        pair.run(f"SET timestamp = {value}")
        for sql in (
            "SELECT id, NOW(6), @@timestamp FROM things ORDER BY id LIMIT 20",
            "SELECT COUNT(*), MAX(NOW(6)) FROM things",
            "SELECT NOW(6)",
        ):
            ours, theirs = pair.client.query(sql), pair.mirror.query(sql)
            assert (ours.rows, ours.errno) == (theirs.rows, 0), sql
    for value in ("DEFAULT", "0"):
        pair.run("SET timestamp = 5", f"SET timestamp = {value}")
        answer = pair.client.run("SELECT id, YEAR(NOW()) > 2020 FROM things ORDER BY id")
        assert {row[1] for row in answer.rows} == {b"1"}


def test_a_limit_of_the_session_is_not_that_of_every_shard(pair: Pair) -> None:
    with Client(pair.proxy.port, APP, APP_PASSWORD, DATABASE) as client:
        client.run("SET sql_select_limit = 5")
        for sql in ("SELECT id FROM things", "SELECT id FROM things ORDER BY id", "SELECT DISTINCT i FROM things"):
            refused = client.query(sql)
            assert refused.errno == 1235
            assert "sql_select_limit" in refused.message
        assert len(client.run("SELECT id FROM things ORDER BY id LIMIT 7").rows) == 7
        assert len(client.run("SELECT DISTINCT i FROM things LIMIT 8").rows) == 8
        client.run("SET sql_select_limit = DEFAULT")
        assert len(client.run("SELECT id FROM things").rows) == ROWS


def test_rows_of_16_megabytes(pair: Pair) -> None:
    wide = "SELECT id, IF(id = 3, REPEAT('x', 17000000), 'short') FROM things WHERE id < 6 ORDER BY id DESC"
    with Client(pair.proxy.port, APP, APP_PASSWORD, DATABASE) as client:
        rows = client.query(wide).checked().rows
    assert [row[0] for row in rows] == [b"5", b"4", b"3", b"2", b"1", b"0"]
    assert [len(row[1] or b"") for row in rows] == [5, 5, 17000000, 5, 5, 5]


def test_rows_that_nobody_reads_wait_on_their_servers(pair: Pair) -> None:
    """Sorted rows of 100 MB on three servers, in a proxy that grows by a fraction of that."""
    proxy = pair.proxy
    source = "things t, kinds a, kinds b"
    with Client(proxy.port, APP, APP_PASSWORD, DATABASE) as client:
        client.run(f"SELECT t.id, REPEAT('y', 2000) FROM {source} WHERE b.i < 0 ORDER BY t.k, t.id")
        before = proxy.memory_bytes()
        highest = 0
        client.send(f"SELECT t.k, t.id, a.i, REPEAT('y', 2000) AS y FROM {source} ORDER BY t.k, t.id")
        last = (-1, -1)
        for number, row in enumerate(client.rows()):
            if number % 2_000 == 0:
                highest = max(highest, proxy.memory_bytes())
            at = (int(row[0] or 0), int(row[1] or 0))
            assert at >= last
            last = at
        assert number == ROWS * 15 * 15 - 1
    assert highest - before < 40 << 20


def test_a_server_that_is_not_waited_for_is_let_go(pair: Pair) -> None:
    """LIMIT is met by two shards at once; the third would take its time."""
    slow = "SELECT id FROM places WHERE region IN ('a', 'b') OR (region > 'b' AND SLEEP(4) = 0) LIMIT 3"
    began = time.monotonic()
    assert len(pair.client.run(slow).rows) == 3
    assert time.monotonic() - began < 3.5
    assert pair.client.run("SELECT id FROM places ORDER BY id LIMIT 1").number == 0
