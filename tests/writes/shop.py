"""A shop on four shards and two clusters more, and its mirror, one server that has everything."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from contextlib import contextmanager

from tests.front.raw import Answer, Client
from tests.servers import MariaDB, Run, Shop, Turnout
from tests.servers.shop import APP, APP_PASSWORD, DATABASE

CLUSTERS = ("main", "media", "shard0", "shard1", "shard2", "shard3")
SHARDS = CLUSTERS[2:]
RULES = """\
{servers}
shardings:
  by_k: {{method: hash, clusters: [shard0, shard1, shard2, shard3]}}
  by_word: {{method: hash, clusters: [shard3, shard1]}}
databases:
  shop:
    home: main
    tables:
      things: {{sharding: by_k, key: k}}
      people: {{sharding: by_k, key: k{cache}}}
      parts: {{sharding: by_k, key: k}}
      words: {{sharding: by_word, key: w}}
      bags: {{sharding: by_k, key: k}}
      counted: {{sharding: by_k, key: k}}
      photos: {{cluster: media}}
      kinds: {{everywhere: true}}
transactions: {transactions}
workbench: {{cluster: main}}
health: {{timeout: 30s, connect_timeout: 30s}}
"""
SCHEMA = {
    "things": "(k INT, id INT, n INT, s VARCHAR(20) COLLATE utf8mb4_unicode_ci, l VARCHAR(10) CHARACTER SET latin1, "
    "d DECIMAL(10,3), f FLOAT, dd DOUBLE, at DATETIME(3), ts TIMESTAMP(6) NULL, raw BLOB, e ENUM('x','y'), "
    "bits BIT(9), twice INT AS (n * 2) VIRTUAL, thrice INT AS (n * 3) STORED, hidden INT INVISIBLE DEFAULT 7, "
    "PRIMARY KEY (k, id), KEY (n))",
    "people": "(id INT PRIMARY KEY, k INT NOT NULL, name VARCHAR(20) COLLATE utf8mb4_general_ci, n INT, KEY (k), "
    "UNIQUE KEY once (k, name))",
    "parts": "(k INT, part INT, n INT, PRIMARY KEY (k, part), CHECK (n < 1000000))",
    "words": "(w VARCHAR(20) COLLATE utf8mb4_general_ci, id INT, n INT, PRIMARY KEY (w, id))",
    "bags": "(k INT NOT NULL, n INT, KEY (k))",
    "counted": "(id INT AUTO_INCREMENT PRIMARY KEY, k INT NOT NULL, n INT, KEY (k))",
    "photos": "(id INT AUTO_INCREMENT PRIMARY KEY, k INT, n INT, title VARCHAR(30), KEY (k))",
    "users": "(id INT AUTO_INCREMENT PRIMARY KEY, n INT, name VARCHAR(30))",
    "kinds": "(i INT PRIMARY KEY, kind VARCHAR(20))",
}
# Of several rows with the same mistake, any may be met first.
WHICH_ROW = re.compile(r" at row \d+|(?<=Duplicate entry )'.*'(?= for key)")


def rows(rng: random.Random) -> list[str]:
    """INSERTs of what the tables begin with."""

    def maybe(value: object) -> str:
        return "NULL" if rng.random() < 0.15 else str(value)

    def text() -> str:
        return maybe(repr(rng.choice(("a", "A", "b", "é", "x y", "", "zz"))))

    things = [
        f"({rng.randrange(20)}, {n}, {maybe(rng.randrange(-5, 20))}, {text()}, {text()}, {rng.randrange(9000) / 1000}, "
        f"{maybe('1/3')}, {maybe('1/7e0')}, '2024-0{1 + n % 9}-01 10:00:00.{n:03}', "
        f"{maybe(repr('2025-10-26 00:30:00.123456'))}, {rng.choice(('x', 'X'))}'{n:02x}275c00', {1 + n % 2}, {n}, {n})"
        for n in range(60)
    ]
    people = [f"({n}, {rng.randrange(20)}, 'p{n}', {maybe(rng.randrange(20))})" for n in range(40)]
    parts = [f"({rng.randrange(20)}, {n}, {maybe(rng.randrange(20))})" for n in range(50)]
    words = [f"('{rng.choice(('ant', 'bee', 'Cat', 'dog', 'elk'))}', {n}, {rng.randrange(9)})" for n in range(25)]
    photos = [f"({n}, {rng.randrange(20)}, {maybe(rng.randrange(20))}, {text()})" for n in range(1, 40)]
    users = [f"({n}, {maybe(rng.randrange(20))}, 'u{n % 7}')" for n in range(1, 30)]
    columns = "k, id, n, s, l, d, f, dd, at, ts, raw, e, bits, hidden"
    return [
        *(f"DELETE FROM {table}" for table in SCHEMA),
        "SET time_zone = '+00:00'",
        f"INSERT INTO things ({columns}) VALUES " + ", ".join(things),
        "SET time_zone = DEFAULT",
        "INSERT INTO people VALUES " + ", ".join(people),
        "INSERT INTO parts VALUES " + ", ".join(parts),
        "INSERT INTO words VALUES " + ", ".join(words),
        "INSERT INTO bags VALUES " + ", ".join(f"({n % 9}, {n})" for n in range(20)),
        "INSERT INTO photos VALUES " + ", ".join(photos),
        "INSERT INTO users VALUES " + ", ".join(users),
        "INSERT INTO kinds VALUES " + ", ".join(f"({n}, 'kind {n % 3}')" for n in range(-3, 20)),
    ]


class Pair:
    """A client of Turnout and one of the server that has everything."""

    def __init__(self, proxy: Turnout, mirror: MariaDB, **options: int) -> None:
        self.client = Client(proxy.port, APP, APP_PASSWORD, DATABASE, **options)
        self.mirror = Client(mirror.port, APP, APP_PASSWORD, DATABASE, **options)

    def run(self, *statements: str) -> None:
        for sql in statements:
            self.client.run(sql)
            self.mirror.run(sql)

    def same_or_refused(self, sql: str) -> Answer | None:
        """The same, or None where Turnout refuses the statement and nobody carries it out."""
        ours = self.client.query(sql)
        return None if ours.errno == 1235 else self.same(sql, ours)

    def same(self, sql: str, ours: Answer | None = None) -> Answer:
        """The answer of Turnout, which is the mirror's: affected rows, info, warnings, errors, status."""
        ours, theirs = ours or self.client.query(sql), self.mirror.query(sql)
        rows_are_same(sql, ours, theirs)
        return ours

    def refused(self, sql: str, word: str) -> None:
        """Turnout refuses it, with this word in the sentence."""
        answer = self.client.query(sql)
        assert answer.errno == 1235, f"{sql}: {answer}"
        assert word in answer.message, f"{sql}: {answer}"

    def compare(self, sql: str = "") -> None:
        """Every table (of those that a statement names) has the same rows on both sides."""
        for table in SCHEMA:
            if not sql or re.search(rf"\b{table}\b", sql):
                extra = ", hidden, f * 1e0" if table == "things" else ""
                self.same(f"SELECT *{extra} FROM {table}")

    def close(self) -> None:
        self.client.abort()
        self.mirror.abort()


def rows_are_same(sql: str, ours: Answer, theirs: Answer) -> None:
    """Affected rows, info, warnings, errors, status and rows are."""
    said = f"{sql}\n  {ours} {ours.info!r} {ours.warnings}\n  instead of {theirs} {theirs.info!r} {theirs.warnings}"
    assert (ours.errno, ours.sqlstate) == (theirs.errno, theirs.sqlstate), said
    assert WHICH_ROW.sub("", ours.message) == WHICH_ROW.sub("", theirs.message), said
    assert (ours.affected_rows, ours.warnings) == (theirs.affected_rows, theirs.warnings), said
    assert _told(ours.info) == _told(theirs.info), said
    assert ours.status & 3 == theirs.status & 3, said
    assert sorted(map(repr, ours.rows)) == sorted(map(repr, theirs.rows)), said


def _told(info: bytes) -> bytes:
    """A server that sees at once that no row can match says nothing instead of this."""
    return b"" if info == b"Rows matched: 0  Changed: 0  Warnings: 0" else info


class Place:
    """The servers, the mirror and a Turnout over them."""

    def __init__(self, run: Run, shop: Shop, transactions: str = "atomic", cache: str = "") -> None:
        self.run = run
        self.servers = {name: shop.server(name) for name in CLUSTERS}
        self.mirror = run.mariadb("writes-everything")
        self.mirror.create_account(APP, APP_PASSWORD)
        self.mirror.execute(f"CREATE DATABASE {DATABASE}")
        for server in (self.mirror, *self.servers.values()):
            server.execute(f"DROP DATABASE IF EXISTS {DATABASE}", f"CREATE DATABASE {DATABASE}")
            server.execute(*(f"CREATE TABLE {name} {text}" for name, text in SCHEMA.items()), database=DATABASE)
        self.rules = RULES.format(servers=shop.rules(*CLUSTERS), transactions=transactions, cache=cache)
        self.proxy = run.turnout(self.rules)

    @contextmanager
    def pair(self) -> Iterator[Pair]:
        pair = Pair(self.proxy, self.mirror)
        try:
            yield pair
        finally:
            pair.close()

    def client_rows(self, proxy: Turnout, sql: str) -> tuple[tuple[bytes | None, ...], ...]:
        """What a new client of a Turnout sees."""
        client = Client(proxy.port, APP, APP_PASSWORD, DATABASE)
        try:
            return client.query(sql).checked().rows
        finally:
            client.abort()

    def check_places(self) -> None:
        """Every row of a sharded table is on the shard of its key, as MySQL's own CRC32 says."""
        for number, shard in enumerate(SHARDS):
            mine = f"CRC32(k) % 4096 BETWEEN {number * 1024} AND {number * 1024 + 1023}"
            low = {"shard3": 0, "shard1": 2048}.get(shard, 9999)
            word = f"CRC32(LOWER(RTRIM(w))) % 4096 BETWEEN {low} AND {low + 2047}"
            parts = [
                f"SELECT '{t}', k FROM {t} WHERE NOT {mine}" for t in ("things", "people", "parts", "bags", "counted")
            ]
            found = self.servers[shard].execute(
                " UNION ALL ".join([*parts, f"SELECT 'words', w FROM words WHERE NOT {word}"]), database=DATABASE
            )
            assert not found, f"on {shard}: {found}"
