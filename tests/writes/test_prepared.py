"""Writes by a list of keys as prepared statements, and statements that SQL names: the same as on one server."""

from __future__ import annotations

import pytest

from tests.front.raw import Answer, Client, Param, Statement
from tests.prepared.bound import DATETIME, NEWDECIMAL, VAR_STRING, date, double, moment, text
from tests.writes.shop import Pair, Place, rows_are_same

pytestmark = pytest.mark.servers

WRITES: tuple[tuple[str, tuple[Param, ...]], ...] = (
    ("UPDATE things SET n = n + ?, s = ? ORDER BY id DESC LIMIT 9", (1, "it's ?")),
    (
        "UPDATE things SET d = ?, dd = ?, at = ? ORDER BY id LIMIT ?",
        (text(NEWDECIMAL, "1.25"), 0.1, date(2024, 5, 6), 4),
    ),
    ("UPDATE things SET at = ? WHERE k > ? ORDER BY id LIMIT 5", (moment(DATETIME, 2024, 1, 2, 3, 4, 5, 600000), 3)),
    ("UPDATE things SET n = ?, l = ? WHERE n > ? ORDER BY n, id LIMIT 3", (None, "é\\", -2)),
    ("UPDATE things SET raw = ? ORDER BY id LIMIT 2", (text(252, b"\0'\\\xff"),)),
    ("DELETE FROM people ORDER BY name LIMIT ?", (3,)),
    ("DELETE FROM parts WHERE n IS NULL OR n = ? ORDER BY part LIMIT 100", (double(4),)),
    ("UPDATE parts SET n = n + ? WHERE part = ? ORDER BY part LIMIT 1", (1, 7)),
    ("UPDATE people SET k = ?, n = ? WHERE id < 10", (3, 7)),
    ("UPDATE people SET k = ? WHERE name = ?", (text(VAR_STRING, "17"), "p12")),
    ("UPDATE parts p JOIN photos f ON f.id = p.part SET p.n = f.n + ? WHERE f.n > ?", (100, 2)),
    ("DELETE p FROM parts p JOIN photos f ON f.id = p.part WHERE f.title = ?", ("a",)),
    ("UPDATE photos SET n = ? WHERE k IN (SELECT k FROM people WHERE n > ?)", (-1, 5)),
    ("UPDATE kinds SET kind = ? WHERE i IN (SELECT n FROM users WHERE id < ?)", ("new", 9)),
    ("INSERT INTO parts SELECT k, id + ?, n FROM photos WHERE k IS NOT NULL AND n < ?", (1000, 12)),
    ("INSERT INTO photos (id, k, title) SELECT id + ?, k, name FROM people WHERE n > ?", (500, 3)),
    ("REPLACE INTO parts (k, part, n) SELECT k, part, ? FROM parts WHERE n > ?", (3, 5)),
    ("INSERT INTO counted (id, k, n) SELECT id, k, ? FROM photos WHERE k = ?", (9, 4)),
    ("DELETE FROM parts ORDER BY part LIMIT ?", (0,)),
    ("UPDATE parts SET n = ? ORDER BY part LIMIT 0", (0,)),
)


def both(pair: Pair, sql: str, *params: Param) -> None:
    """Prepared and executed on both sides, twice with the same statement."""
    ours, theirs = pair.client.prepare(sql), pair.mirror.prepare(sql)
    assert isinstance(ours, Statement), f"{sql}: {ours}"
    assert isinstance(theirs, Statement), f"{sql}: {theirs}"
    assert (ours.params, ours.columns) == (theirs.params, theirs.columns), sql
    for _ in range(2):
        one, other = pair.client.execute(ours, *params), pair.mirror.execute(theirs, *params)
        rows_are_same(f"{sql} {params}", one, other)
    pair.client.close_statement(ours)
    pair.mirror.close_statement(theirs)


def test_writes_by_keys(pair: Pair) -> None:
    for sql, params in WRITES:
        both(pair, sql, *params)
        pair.same("SELECT ROW_COUNT()")
    pair.compare()
    pair.run("BEGIN")
    for sql, params in WRITES[:8]:
        both(pair, sql, *params)
    pair.run("ROLLBACK")
    pair.compare()


def test_an_update_that_can_match_nothing_says_nothing(pair: Pair) -> None:
    """That it does, a server sees in the text alone; else it says how many rows matched."""
    said = []
    for sql in (
        "UPDATE parts SET n = 1 ORDER BY part LIMIT 0",
        "UPDATE parts SET n = 1 WHERE part = 1 AND part = 2 ORDER BY part LIMIT 3",
        "UPDATE parts SET n = 1 WHERE part > 5 AND part < 3 ORDER BY part LIMIT 3",
        "UPDATE parts SET n = 1 WHERE n = 987 ORDER BY part LIMIT 3",
        "UPDATE parts SET n = 1 WHERE part IS NULL ORDER BY part LIMIT 3",
    ):
        ours, theirs = pair.client.query(sql).checked(), pair.mirror.query(sql).checked()
        assert ours.info == theirs.info, sql
        said.append(ours.info)
    assert b"" in said
    assert b"Rows matched: 0  Changed: 0  Warnings: 0" in said


def test_what_was_prepared_under_other_settings(pair: Pair) -> None:
    client = pair.client
    statement = client.prepare("UPDATE things SET s = ? ORDER BY id LIMIT 1")
    assert isinstance(statement, Statement)
    client.run("SET sql_mode = 'ANSI_QUOTES'")
    answer = client.execute(statement, "x")
    assert answer.errno == 1235
    assert "sql_mode" in answer.message
    client.run("SET sql_mode = DEFAULT")
    assert client.execute(statement, "x").checked().affected_rows == 1
    answer = client.execute(statement, text(245, "{}"))
    assert answer.errno == 1235
    assert "parameter 1" in answer.message
    client.run("UPDATE things SET s = 'x' ORDER BY id LIMIT 1")
    pair.mirror.run("UPDATE things SET s = 'x' ORDER BY id LIMIT 1")
    pair.compare("things")


NAMED = """\
PREPARE one FROM 'SELECT * FROM things WHERE k = ?'
SET @k = 5, @n = NULL, @m = -3
EXECUTE one USING @k
EXECUTE one USING 7
EXECUTE ONE USING @n
EXECUTE one USING @none
EXECUTE one
EXECUTE one USING @k, @n
PREPARE some FROM 'SELECT id, n FROM things WHERE n > ? ORDER BY id LIMIT ?, ?'
SET @from = 2, @many = 5
EXECUTE some USING @m, @from, @many
EXECUTE some USING -1, 0, 3
PREPARE joined FROM 'SELECT t.id, f.title FROM things t JOIN photos f ON f.k = t.k WHERE f.n > ? AND t.n < ?'
EXECUTE joined USING @m, 5
PREPARE written FROM "UPDATE things SET n = n + ?, s = ? WHERE k IN (?, ?)"
EXECUTE written USING 1, 'it\\'s', 3, 4
SELECT ROW_COUNT()
PREPARE moved FROM 'UPDATE people SET k = ? WHERE id = ?'
EXECUTE moved USING 11, 3
PREPARE put FROM 'INSERT INTO parts (k, part, n) VALUES (?, 2000, 1), (?, 2001, 1)'
EXECUTE put USING 1, 9
EXECUTE put USING 2, 9
PREPARE gone FROM 'DELETE FROM parts WHERE part >= 2000'
EXECUTE gone
EXECUTE IMMEDIATE 'SELECT COUNT(*) FROM parts WHERE n < ?' USING 7
EXECUTE IMMEDIATE 'SELECT nothing FROM parts'
PREPARE bad FROM 'SELECT FROM WHERE'
EXECUTE bad
PREPARE one FROM 'SELECT nothing FROM things'
EXECUTE one USING @k
PREPARE again FROM 'EXECUTE some'
PREPARE empty FROM ''
DEALLOCATE PREPARE some
EXECUTE some USING 1, 1, 1
DROP PREPARE joined
DROP PREPARE joined
SET @text = 'SELECT id, s FROM things WHERE s = ?', @s = 'A', @d = 1.50, @e = 2.5e0, @raw = _binary 'a'
PREPARE texts FROM @text
EXECUTE texts USING @s
EXECUTE texts USING @raw
SET @text = 'SELECT id FROM things WHERE d > ? AND dd < ?'
PREPARE texts FROM @text
EXECUTE texts USING @d, @e
EXECUTE texts USING @k, @d
EXECUTE IMMEDIATE @text USING @d, @e
PREPARE none FROM @nothing
PREPARE begun FROM 'BEGIN'
EXECUTE begun
PREPARE written FROM 'DELETE FROM things WHERE k IN (?, ?)'
EXECUTE written USING 1, 2
ROLLBACK
PREPARE made FROM 'CREATE TEMPORARY TABLE tmp (id INT)'
DEALLOCATE PREPARE made
SELECT id FROM things WHERE k = 5
"""


def test_statements_with_names(pair: Pair) -> None:
    for sql in NAMED.splitlines():
        pair.same(sql)
    pair.compare()


def test_what_names_cannot_be_given(pair: Pair) -> None:
    for sql, word in (
        ("PREPARE s FROM 'SELECT ?, id FROM things'", "alias"),
        ("PREPARE s FROM CONCAT('SELECT', ' 1')", "neither"),
        ("PREPARE s FROM 'EXPLAIN SELECT t.id FROM things t JOIN photos f ON f.id = t.id'", "EXPLAIN"),
    ):
        pair.refused(sql, word)
    pair.client.run("PREPARE s FROM 'SELECT id FROM things WHERE n < ? LIMIT ?'")
    pair.refused("EXECUTE s USING 1 + 1, 2", "literal")
    pair.refused("EXECUTE s USING 1, 'x'", "LIMIT")
    pair.client.run("SET @a = 'x' COLLATE utf8mb4_bin")
    pair.refused("EXECUTE s USING @a, 2", "@a")
    pair.client.run("SET sql_mode = 'ANSI_QUOTES'")
    pair.refused("EXECUTE s USING 1, 2", "sql_mode")


def test_names_end_with_the_session(pair: Pair, place: Place) -> None:
    pair.client.run("PREPARE s FROM 'SELECT id FROM things WHERE k = 5'")
    with place.pair() as other:
        assert other.client.query("EXECUTE s").errno == 1243
    _reset(pair.client)
    assert pair.client.query("EXECUTE s").errno == 1243


def _reset(client: Client) -> Answer:
    return client.command(31)
