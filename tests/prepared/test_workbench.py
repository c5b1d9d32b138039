"""Prepared SELECTs that are finished on the workbench: the same packets as on one server with everything."""

from __future__ import annotations

import pytest

from tests.front.raw import Bound, Client, Param, Statement
from tests.prepared.bound import NEWDECIMAL, VAR_STRING, date, double, every_type, moment, text
from tests.prepared.pair import PreparedPair
from tests.servers import MariaDB, Shop, Turnout
from tests.servers.process import wait_until
from tests.servers.shop import APP, APP_PASSWORD, DATABASE

pytestmark = pytest.mark.servers

JOIN = "things t JOIN photos p ON p.of_id = t.id"
SELECTS: tuple[tuple[str, tuple[Param, ...]], ...] = (
    (f"SELECT t.k, t.id, p.id, p.title, ? FROM {JOIN} WHERE t.i > ? ORDER BY 1, 2, 3", ("é", 3)),
    (f"SELECT t.*, p.* FROM {JOIN} WHERE p.n <> ? AND t.k IN (?, ?, ?)", (3, 1, 8, 13)),
    (f"SELECT COUNT(*), SUM(p.n * ?), GROUP_CONCAT(t.id ORDER BY t.id SEPARATOR ',') FROM {JOIN}", (2.5,)),
    ("SELECT o.*, u.name FROM odd o JOIN users u ON u.id = o.id WHERE o.id < ? AND u.name LIKE ?", (30, "user %")),
    ("SELECT id FROM things WHERE i = ? UNION SELECT id FROM photos WHERE n = ? ORDER BY id LIMIT ?", (3, 4, 9)),
    ("SELECT k, id, RANK() OVER (PARTITION BY k ORDER BY i, id) FROM things WHERE k < ?", (9,)),
    ("WITH w AS (SELECT k, COUNT(*) AS c FROM parts WHERE price > ? GROUP BY k) SELECT * FROM w WHERE c > ?", (3, 2)),
    ("SELECT i, AVG(n) FROM things GROUP BY i HAVING AVG(n) > ?", (text(NEWDECIMAL, "1.5"),)),
    ("SELECT i, SUM(g) > ? FROM things WHERE i < ? GROUP BY i", (0.5, 9)),
    ("SELECT i + ?, COUNT(*) FROM things GROUP BY i + ?", (1, 1)),
    ("SELECT i, COUNT(*) FROM things GROUP BY i WITH ROLLUP HAVING COUNT(*) > ?", (3,)),
    ("SELECT a.part, b.part FROM parts a JOIN parts b ON a.price = b.price AND a.part < b.part WHERE a.k > ?", (5,)),
    ("SELECT id FROM photos WHERE id IN (SELECT id FROM things WHERE general = ? OR i = ?)", ("a", 5)),
    ("SELECT id, (SELECT MAX(price) FROM parts WHERE of_id = p.id AND k <> ?) FROM photos p WHERE n < ?", (3, 4)),
    ("SELECT u.id, k.kind FROM users u LEFT JOIN things t ON t.id = u.id LEFT JOIN kinds k ON k.i = t.i + ?", (1,)),
)


@pytest.mark.parametrize(("sql", "params"), SELECTS)
def test_the_same(pair: PreparedPair, sql: str, params: tuple[Param, ...]) -> None:
    ordered = "ORDER BY 1" in sql
    assert pair.same(sql, *params, ordered=ordered).rows
    pair.same(sql, *params, ordered=ordered)
    pair.same(sql, *(None if isinstance(value, str) else value for value in params), ordered=ordered)


def test_one_statement_for_one_shard_and_for_the_workbench(pair: PreparedPair) -> None:
    sql = "SELECT a.id, b.part, ? FROM things a JOIN parts b ON a.id = b.of_id WHERE a.k = ? AND b.k = ? ORDER BY 1, 2"
    for params in ((1, 3, 3), ("x", 3, 8), (None, 3, None), (2.5, 7, 7), (date(2024, 1, 1), 9, 13), (1, 3, 3)):
        pair.same(sql, *params, ordered=True)


@pytest.mark.parametrize("value", [3, "x"])
def test_places_that_are_bound(pair: PreparedPair, value: Param) -> None:
    pair.same("SELECT k, id, i FROM things WHERE k IN (1, 8) GROUP BY i, ? ORDER BY i, ?", value, value)
    pair.same("SELECT k, id, i FROM things ORDER BY ?, k, id", value)


@pytest.mark.parametrize(
    "sql",
    [
        f"SELECT t.id, p.id FROM {JOIN} WHERE t.i = ? OR p.n = ?",
        f"SELECT t.id, p.id FROM {JOIN} WHERE t.i = ? AND p.n > ?",
        f"SELECT t.id, p.id FROM {JOIN} WHERE t.i <=> ? AND t.n IN (?, 1.5)",
        f"SELECT t.id, p.id FROM {JOIN} WHERE t.general IN (?, ?, 'a')",
        f"SELECT t.id, p.id FROM {JOIN} WHERE t.bin > ? AND t.latin <> ?",
        f"SELECT t.id, p.id FROM {JOIN} WHERE t.day BETWEEN ? AND ?",
        f"SELECT t.id, p.id FROM {JOIN} WHERE t.at >= ? AND p.taken <> ?",
        f"SELECT t.id, p.id FROM {JOIN} WHERE p.title LIKE ? AND t.k > ?",
        f"SELECT t.id, MAX(?) FROM {JOIN} WHERE t.k IN (3, ?) GROUP BY t.id",
        "SELECT o.id, u.id FROM odd o JOIN users u ON o.id = u.id WHERE o.c = ? OR o.z = ?",
        "SELECT i, MAX(?), COUNT(*) FROM things WHERE general > ? GROUP BY i ORDER BY i",
    ],
)
def test_every_type_of_parameter(pair: PreparedPair, sql: str) -> None:
    for value in every_type(3):
        pair.same(sql, value, value)


def test_texts_that_have_to_be_escaped(pair: PreparedPair) -> None:
    quotes = ("it's", "\\", "\\'", '"', "a\0b", "%", "é", "😀", "")
    pair.run("BEGIN")
    for n, value in enumerate(quotes):
        pair.same(
            "INSERT INTO places (region, id, name) VALUES ('a', ?, ?), ('b', ?, ?)", 100 + n, value, 200 + n, value
        )
    sql = "SELECT a.id, p.id FROM places a JOIN photos p WHERE p.id < 3 AND a.name = ? AND a.name IN (?, 'no')"
    for value in quotes:
        assert pair.same(sql, value, value).rows
    pair.run("SET sql_mode = 'NO_BACKSLASH_ESCAPES'")
    for value in quotes:  # read as it was prepared
        assert pair.same(sql, value, value).rows
    other = sql.replace("'no'", "'\\'")
    for value in quotes:
        assert pair.same(other, value, value).rows
    pair.run("SET NAMES latin1")
    for client, statement in zip((pair.client, pair.mirror), pair.prepared(sql)):
        assert client.execute(statement, b"\xe9", b"\xe9").checked().rows
    pair.run("SET NAMES utf8mb4", "ROLLBACK", "SET sql_mode = DEFAULT")


def test_in_a_transaction(pair: PreparedPair) -> None:
    sql = "SELECT t.id, u.i, ? FROM things t JOIN users u ON u.id = t.id WHERE u.i > ?"
    before = pair.same(sql, "x", 2).rows
    pair.run("BEGIN", "UPDATE users SET i = 100 WHERE id = 3", "DELETE FROM things WHERE i = 5")
    assert pair.same(sql, "x", 2).rows != before
    prepared_inside = "SELECT COUNT(*), SUM(u.i) FROM things t JOIN users u ON u.id = t.id WHERE u.i > ?"
    pair.same(prepared_inside, 2)
    pair.run("ROLLBACK")
    assert sorted(pair.same(sql, "x", 2).rows) == sorted(before)
    pair.run("SET autocommit = 0")
    again = "SELECT COUNT(*), MAX(u.i), 1 FROM things t JOIN users u ON u.id = t.id WHERE u.i > ?"
    ours, theirs = pair.prepared(again)
    assert pair.client.query("SELECT 1").status & 1 == pair.mirror.query("SELECT 1").status & 1  # none has begun
    pair.compare(again, pair.client.execute(ours, 1), pair.mirror.execute(theirs, 1))
    pair.run("COMMIT", "SET autocommit = 1")


def test_a_temporary_table_of_the_session(pair: PreparedPair) -> None:
    pair.run("CREATE TEMPORARY TABLE users (id INT, mine VARCHAR(20))", "INSERT INTO users VALUES (1, 'mine')")
    pair.same("SELECT u.*, COUNT(*) FROM users u JOIN things t WHERE u.mine = ? GROUP BY u.id, u.mine", "mine", rows=1)
    pair.run("DROP TEMPORARY TABLE users")


def test_long_data(pair: PreparedPair) -> None:
    sql = f"SELECT t.id, p.id, LENGTH(?) FROM {JOIN} WHERE t.general > ? ORDER BY 1, 2"
    sides = [(client, statement) for client, statement in zip((pair.client, pair.mirror), pair.prepared(sql))]
    for client, statement in sides:
        client.long_data(statement, 0, b"a" * 100_000)
        client.long_data(statement, 0, b"b" * 100_000)
        client.long_data(statement, 1, b"b")
    empty = Bound(VAR_STRING, b"")
    answers = [client.execute(statement, empty, empty) for client, statement in sides]
    pair.compare(sql, *answers, ordered=True)
    assert answers[0].rows


def test_errors(pair: PreparedPair) -> None:
    for sql in (
        f"SELECT nosuch FROM {JOIN} WHERE t.id = ?",
        "SELECT * FROM things t JOIN nosuch n ON n.id = ?",
        "SELECT id FROM things UNION SELECT id, n FROM photos WHERE id = ?",
    ):
        ours, theirs = pair.client.prepare(sql), pair.mirror.prepare(sql)
        assert not isinstance(ours, Statement)
        assert not isinstance(theirs, Statement)
        assert (ours.errno, ours.sqlstate, ours.message) == (theirs.errno, theirs.sqlstate, theirs.message), sql
    pair.same(f"SELECT t.id, (SELECT id FROM photos WHERE id > ?) AS one FROM {JOIN}", 1)  # more than 1 row
    pair.same(f"SELECT t.id / ?, p.id FROM {JOIN} WHERE t.id < 9", 0)
    pair.text("SHOW COUNT(*) WARNINGS")


def test_a_statement_is_described_once(pair: PreparedPair, shop_servers: Shop) -> None:
    """By settings, which columns may depend on."""
    sql = f"SELECT t.id, p.id, p.title, t.n / ? FROM {JOIN} WHERE t.i = ?"
    pair.prepared(sql)
    tables = "SHOW GLOBAL STATUS LIKE 'Com_create_temporary_table'"
    before = shop_servers.main.execute(tables)
    with Client(pair.port, APP, APP_PASSWORD, DATABASE) as client:
        again = client.prepare(sql)
        assert isinstance(again, Statement)
        assert shop_servers.main.execute(tables) == before
        found = client.execute(again, 2, 3).checked()
        assert len(found.columns) == len(again.columns) == 4
        client.run("SET NAMES latin1, div_precision_increment = 9")
        other = client.prepare(sql)
        assert isinstance(other, Statement)
        assert [c.decimals for c in other.columns][3] == [c.decimals for c in again.columns][3] + 5
        assert other.columns[2].charset == 8


def test_nothing_stays(pair: PreparedPair, proxy: tuple[Turnout, MariaDB], shop_servers: Shop) -> None:
    sql = f"SELECT t.id, p.id FROM {JOIN} WHERE t.i = ?"
    with Client(proxy[0].port, APP, APP_PASSWORD, DATABASE) as client:
        before = -1
        for n in range(8):
            statement = client.prepare(sql)
            assert isinstance(statement, Statement)
            assert client.execute(statement, 3).checked().rows
            if n == 2:
                before = _prepared_on(shop_servers.main)
        # Some may be on their way out, then as now: COM_STMT_CLOSE has no answer.
        wait_until(lambda: _prepared_on(shop_servers.main) <= before, 10)
        assert client.query("SELECT COUNT(*) FROM photos").errno == 0
        moments = client.prepare(f"SELECT t.id FROM {JOIN} WHERE t.at > ? AND t.g < ?")
        assert isinstance(moments, Statement)
        client.execute(moments, moment(12, 2000, 1, 1), double(9)).checked()


def _prepared_on(server: MariaDB) -> int:
    return int(server.execute("SHOW GLOBAL STATUS LIKE 'Prepared_stmt_count'")[0][1])
