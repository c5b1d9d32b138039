"""Prepared SELECTs whose values choose one shard, several, or all: merged as text ones are, in the binary protocol."""

from __future__ import annotations

import pytest

from tests.front.raw import Bound, Param
from tests.prepared.bound import VAR_STRING, date, double, every_type, moment, text, whole
from tests.prepared.pair import PreparedPair

pytestmark = pytest.mark.servers

ALL = "k, id, i, u, n, f, g, day, at, ts, t, y, e, s, bits, general, uni, bin, latin, raw, body"
ORDERED: tuple[tuple[str, tuple[Param, ...]], ...] = (
    (f"SELECT {ALL} FROM things WHERE i > ? ORDER BY k, id", (3,)),
    (f"SELECT {ALL} FROM things WHERE i > ? ORDER BY i DESC, n, id", (1,)),
    *(
        (f"SELECT {c}, k, id FROM things ORDER BY {c}, k, id", ())
        for c in ["i", "u", "n", "f", "g", "day", "at", "ts", "t", "y", "e", "s", "bits"]
    ),
    *(
        (f"SELECT {c}, k, id FROM things ORDER BY {c} DESC, k, id", ())
        for c in ["i", "u", "n", "f", "g", "day", "at", "ts", "t", "y", "e", "s"]
    ),
    ("SELECT id, k FROM things WHERE k IN (?, ?, ?) ORDER BY general DESC, id, k LIMIT ?", (1, 7, 12, 7)),
    ("SELECT * FROM things WHERE k <> ? ORDER BY id DESC LIMIT ? OFFSET ?", (1, 5, 3)),
    ("SELECT * FROM things ORDER BY id LIMIT ?, ?", (10, 20)),
    ("SELECT id FROM things ORDER BY id LIMIT ?", (0,)),
    ("SELECT id FROM things ORDER BY id LIMIT ?", ("12",)),
    ("SELECT id, i * ? AS x FROM things ORDER BY i * ?, id", (3, -1)),
    ("SELECT id, i * ? AS x FROM things ORDER BY x, id", (-2.5,)),
    ("SELECT id, CONCAT(general, ?) AS x FROM things WHERE i IS NOT NULL ORDER BY x, id LIMIT 30", ("zé",)),
    ("SELECT id, n + ? FROM things ORDER BY 2, 1", (text(246, "1.12345"),)),
    ("SELECT DISTINCT i, ? FROM things ORDER BY i", ("x",)),
    ("SELECT DISTINCT k, i FROM things WHERE i < ? ORDER BY k DESC, i LIMIT ?", (9, 8)),
    ("SELECT i, COUNT(*), SUM(n), AVG(n), MIN(day), MAX(at), AVG(u) FROM things GROUP BY i ORDER BY i", ()),
    ("SELECT i, COUNT(*) AS c FROM things WHERE k <> ? GROUP BY i HAVING COUNT(*) > ? ORDER BY c DESC, i", (3, 5)),
    ("SELECT i, MIN(n) FROM things GROUP BY i HAVING MIN(n) <> ? AND COUNT(i) >= ? ORDER BY i", (10, 1)),
    ("SELECT i, SUM(n), COUNT(*) FROM things GROUP BY i HAVING COUNT(*) > ? AND SUM(n) > ? ORDER BY i", (5.0, 2.0)),
    ("SELECT id FROM things WHERE k IN (?, ?) ORDER BY id LIMIT ?", (3.0, 9.0, 5.0)),
    ("SELECT y, MIN(t), MAX(t), MIN(u), MAX(g), MIN(y), MAX(DATE(at)) FROM things GROUP BY y ORDER BY y", ()),
    ("SELECT i, SUM(n * ?) AS total FROM things GROUP BY i ORDER BY total DESC, i LIMIT ? OFFSET ?", (3, 5, 2)),
    ("SELECT COUNT(*), SUM(i), AVG(i), MIN(n), MAX(at), ? FROM things WHERE i > ?", ("x", 4)),
    ("SELECT COUNT(*), SUM(i), AVG(i) FROM things WHERE i > ?", (4000,)),
    ("SELECT i IS NULL, COUNT(DISTINCT k), MIN(TIME(at)) FROM things GROUP BY 1 ORDER BY 1", ()),
    ("SELECT SUM(i), SUM(n) FROM things WHERE k = ? OR k = ?", (3, 8)),
    (
        "SELECT t.k, t.id, p.part, p.price FROM things t JOIN parts p ON p.k = t.k WHERE p.price > ? ORDER BY 1, 2, 3",
        (5,),
    ),
    ("SELECT t.k, t.id, p.part FROM things t LEFT JOIN parts p ON p.k = t.k AND p.price > ? ORDER BY 1, 2, 3", (5,)),
)


@pytest.mark.parametrize(("sql", "params"), ORDERED)
def test_in_a_certain_order(pair: PreparedPair, sql: str, params: tuple[Param, ...]) -> None:
    assert pair.same(sql, *params, ordered=True).ok
    assert pair.same(sql, *params, ordered=True).ok  # now it is known on every shard


ANY_ORDER: tuple[tuple[str, tuple[Param, ...]], ...] = (
    ("SELECT * FROM things", ()),
    ("SELECT * FROM odd WHERE id < ?", (30,)),
    ("SELECT *, ?, ?, ? FROM places WHERE region IN (?, ?, ?)", (1, "é", None, "a", "b", "c")),
    ("SELECT id, ? + i, ? FROM things WHERE general LIKE ?", (whole(1, -5), date(2024, 2, 29), "a%")),
    ("SELECT id FROM things WHERE at = ? OR day = ?", (moment(12, 2024, 2, 29, 10, 0, 0, 250000), "1999-12-31")),
    ("SELECT id, bin FROM things WHERE bin IN (?, ?) AND k > ?", ("a", text(252, "A"), 2)),
    ("SELECT general FROM things WHERE uni = ? OR latin = ?", ("å", "Ä")),
)


@pytest.mark.parametrize(("sql", "params"), ANY_ORDER)
def test_in_any_order(pair: PreparedPair, sql: str, params: tuple[Param, ...]) -> None:
    assert pair.same(sql, *params).rows


def test_one_statement_for_one_shard_for_several_and_for_all(pair: PreparedPair) -> None:
    pinned = "SELECT id, k, i FROM things WHERE k = ? ORDER BY id LIMIT ?"
    for k in (1, 2, None, 3, "4", 5.0, " 6", 1, 99, whole(1, 7), double(8.0), None):
        pair.same(pinned, k, 5, ordered=True)
    several = "SELECT id, k, i FROM things WHERE k IN (?, ?, ?) ORDER BY id LIMIT ?"
    for params in ((1, 1, 1, 5), (1, 7, 12, 9), (None, None, None, 5), (None, 4, 8, 3), ("4", 5, 6.0, 3), (7, 7, 7, 3)):
        pair.same(several, *params, ordered=True)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT k, id, ? FROM things WHERE k = ?",
        "SELECT k, id, ? FROM things WHERE n = ? ORDER BY id",
        "SELECT region, id, ? FROM places WHERE region = ?",
        "SELECT id, ? FROM things WHERE day = ? OR bin = 'a'",
        "SELECT id, ? FROM things WHERE at > ? ORDER BY at, id LIMIT 10",
        "SELECT i, MAX(?), COUNT(*) FROM things WHERE general > ? GROUP BY i ORDER BY i",
        "SELECT id, IFNULL(i, ?) AS x FROM things WHERE t <> ? ORDER BY id",
        "SELECT id FROM things WHERE IFNULL(bits, ?) < ? ORDER BY id DESC",
    ],
)
def test_every_type_of_parameter(pair: PreparedPair, sql: str) -> None:
    for number in (3, 10):
        for value in every_type(number):
            pair.same(sql, value, value)


def test_types_that_were_bound_before(pair: PreparedPair) -> None:
    ours, theirs = pair.prepared("SELECT id, k, ? FROM things WHERE k IN (?, ?) ORDER BY id, k")
    pair.compare("first", pair.client.execute(ours, "x", 1, 8), pair.mirror.execute(theirs, "x", 1, 8), True)
    for nulls, values in (
        (b"\0", b"\1y" + (5).to_bytes(8, "little") + (6).to_bytes(8, "little")),
        (b"\1", (5).to_bytes(8, "little") + (5).to_bytes(8, "little")),
        (b"\6", b"\1z"),
    ):
        answers = [c.execute_again(s, nulls, values) for c, s in ((pair.client, ours), (pair.mirror, theirs))]
        pair.compare(f"{nulls!r}", *answers, ordered=True)


def test_long_data(pair: PreparedPair) -> None:
    sql = "SELECT id, k, LENGTH(?), ? FROM things WHERE general <> ? ORDER BY CONCAT(?, id) DESC, k LIMIT ?"
    ours, theirs = pair.prepared(sql)
    for client, statement in ((pair.client, ours), (pair.mirror, theirs)):
        for piece in (b"a" * 1000, b"b" * 70_000, b""):
            client.long_data(statement, 0, piece)
        client.long_data(statement, 3, b"x")
    nothing = (Bound(VAR_STRING, b""), "é", "b", Bound(VAR_STRING, b""), 5)
    one, other = pair.client.execute(ours, *nothing), pair.mirror.execute(theirs, *nothing)
    pair.compare("long data", one, other, ordered=True)
    assert len(one.rows) == 5
    pair.same(sql, "short", "é", "b", "x", 5, ordered=True)  # what was sent ahead counted once
