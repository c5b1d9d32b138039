"""Slow logs made at random, in the forms of several servers."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

PLAIN = ("abc", "a; b", "two\nlines", "ünï", "5 = 5", "?", "")
HARD = ("O''Brien", "it\\'s", "-- no", "/* no */", "# no", '"', *PLAIN)  # pt-query-digest takes some for something else


@dataclass(frozen=True)
class Log:
    data: bytes
    entries: tuple[tuple[int, str, int], ...]  # of each: which shape, a statement of it, microseconds


def _statements(rng: random.Random, words: Sequence[str]) -> list[Callable[[], str]]:
    """About forty shapes; which statements are frequent, and which are slow, is up to their places."""

    def number() -> int:
        return rng.choice((0, -3)) if rng.random() < 0.05 else rng.randrange(10**6)

    def text() -> str:
        return rng.choice(words)

    def many(make: Callable[[], object], least: int = 1) -> str:
        return ", ".join(str(make()) for _ in range(rng.randrange(least, 9)))

    plain = [
        lambda name=name: f"SELECT {name} FROM customers WHERE id = {number()} AND note <> '{text()}'"
        for name in ("name", "note", "email", "phone", "street", "city", "country", "born", "seen", "level")
    ]
    joins = [
        lambda other=other: (
            f"SELECT c.id, x.*\nFROM customers AS c\n  JOIN {other} AS x ON x.customer_id = c.id\n"
            f"WHERE c.id IN ({many(number)})\nORDER BY x.id DESC\nLIMIT {rng.randrange(100)}"
        )
        for other in ("orders", "invoices", "visits", "letters", "photos", "albums", "tickets", "devices")
    ]
    writes = [
        lambda: f"INSERT INTO log (customer_id, what) VALUES ({number()}, '{text()}')",
        lambda: "INSERT INTO visits (a, b) VALUES " + many(lambda: f"({number()}, '{text()}')", 2),
        lambda: f"UPDATE stock SET amount = amount - {rng.randrange(9)} WHERE id = {number()}",
        lambda: f"UPDATE customers SET note = '{text()}', level = {number()} WHERE id = {number()}",
        lambda: f"DELETE FROM carts WHERE changed < '2026-11-{rng.randrange(10, 28)} 00:00:00'",
        lambda: f"REPLACE INTO settings SET name = '{text()}', value = {rng.random():.6f}",
        lambda: f"CALL nightly('{text()}', {number()})",
    ]
    others = [
        lambda: "COMMIT",
        lambda: "ROLLBACK",
        lambda: "SET NAMES utf8mb4",
        lambda: f"SELECT /* request={rng.randrange(10**6)} */ 1",
        lambda: f"SELECT COUNT(*) FROM orders WHERE total > {rng.randrange(1000)}.{rng.randrange(100)}",
        lambda: f"SELECT id FROM files WHERE hash = 0x{rng.randrange(10**9):x}",
        lambda: f"SELECT `id`, `key` FROM `my-table` WHERE `key` LIKE '{text()}%' GROUP BY `id` HAVING COUNT(*) > 5",
        lambda: f"(SELECT a FROM one WHERE b = {number()}) UNION ALL (SELECT a FROM two WHERE b = {number()})",
    ]
    return [*plain, *joins, *writes, *others]


def made(kind: str, entries: int, seed: int = 1, words: Sequence[str] = PLAIN) -> Log:
    """A log of `mariadb`, `mysql` or `percona`."""
    rng = random.Random(seed)
    statements = _statements(rng, words)
    written: list[tuple[int, str, int]] = []
    rng.shuffle(statements)
    weights = [1 / (1 + place % 17) for place in range(len(statements))]
    second = 1_700_977_323
    last = ""
    parts = [
        f"/usr/sbin/{kind}d, Version: 1.2.3-{kind} (Debian). started with:\n"
        "Tcp port: 3306  Unix socket: /run/mysqld/mysqld.sock\nTime                 Id Command    Argument\n"
    ]
    for n in range(entries):
        place = rng.choices(range(len(statements)), weights)[0]
        took = rng.lognormvariate(-6 + place % 5, 1)
        database = rng.choice(("shop", "shop", "shop", "stats"))
        clock = f"{second // 3600 % 24:2}:{second // 60 % 60:02}:{second % 60:02}"
        # Like servers: the time where it has changed, the database where it is another.
        if kind != "mariadb":
            parts.append(f"# Time: 2023-11-26T{clock.replace(' ', '0')}.{rng.randrange(10**6):06}Z\n")
        elif n == 0 or rng.random() < 0.2:
            parts.append(f"# Time: 231126 {clock}\n")
        identity = "" if kind == "mariadb" else f"  Id: {rng.randrange(1, 200):5}"
        parts.append(f"# User@Host: app[app] @ web{rng.randrange(3)} [10.0.0.{rng.randrange(9)}]{identity}\n")
        if kind == "mariadb":
            parts.append(f"# Thread_id: {rng.randrange(99)}  Schema: {database}  QC_hit: No\n")
        elif kind == "percona":
            parts.append(f"# Schema: {database}  Last_errno: 0  Killed: 0\n")
        numbers = f"Rows_sent: {rng.randrange(50)}  Rows_examined: {rng.randrange(5000)}"
        parts.append(f"# Query_time: {took:.6f}  Lock_time: {rng.random() / 1000:.6f}  {numbers}")
        if kind == "mariadb":
            parts.append(f"\n# Rows_affected: 0  Bytes_sent: {rng.randrange(9999)}\n")
        elif kind == "percona":
            parts.append(f"  Rows_affected: 0\n# Bytes_sent: {rng.randrange(9999)}\n# QC_Hit: No  Full_scan: Yes\n")
        else:
            parts.append(" Thread_id: 8 Errno: 0 Killed: 0 Bytes_received: 0 Bytes_sent: 81\n")
        if database != last:
            parts.append(f"use {database};\n")
            last = database
        parts.append(f"SET timestamp={second};\n")
        if rng.random() < 0.02:
            place, statement = -1, "administrator command: Ping"
            parts.append(f"# {statement};\n")
        else:
            statement = statements[place]()
            parts.append(f"{statement};\n")
        written.append((place, statement, round(float(f"{took:.6f}") * 1e6)))
        second += rng.random() < 0.05
    return Log("".join(parts).encode(), tuple(written))
