"""UPDATEs that assign the shard key: rows are moved, in one transaction, as if nothing had moved."""

from __future__ import annotations

import zlib

import pytest

from tests.front.conftest import end
from tests.front.raw import Client
from tests.servers.shop import APP, APP_PASSWORD, DATABASE
from tests.writes.shop import Pair, Place

pytestmark = pytest.mark.servers


def _shard(k: int) -> int:
    return zlib.crc32(b"%d" % k) % 4096 // 1024


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE things SET k = 5 WHERE k = 3",
        "UPDATE things SET k = k + 100",
        "UPDATE things SET k = 100 + id, n = n + 1, s = CONCAT('moved ', id) WHERE n > 3",
        "UPDATE things AS t SET t.k = t.k + 1000 WHERE t.id BETWEEN 10 AND 30",
        "UPDATE shop.things SET k = 77 WHERE s = 'a'",
        "UPDATE things SET n = n + 1, k = 88 WHERE id = 7",
        "UPDATE things SET k = 88 WHERE id = 10000",
        "UPDATE people SET k = 3, n = 1 WHERE id = 8",
        "UPDATE people SET k = k + 1 WHERE id IN (1, 2, 3, 4, 5, 6)",
        "UPDATE people SET k = k WHERE id < 20",
        "UPDATE words SET w = 'fox' WHERE w = 'ANT'",
        "UPDATE words SET w = CONCAT(w, 'es'), n = n * 2",
        "UPDATE parts SET k = k + 50, n = 5 WHERE n = 5 OR part < 10",
    ],
)
def test_rows_are_moved(pair: Pair, sql: str) -> None:
    pair.same(sql)
    pair.same("SHOW WARNINGS")
    pair.same("SELECT ROW_COUNT()")
    pair.compare(sql)


def test_inside_of_a_transaction(pair: Pair, place: Place) -> None:
    pair.run("BEGIN", "INSERT INTO things (k, id, n) VALUES (1, 900, 1), (2, 901, 2)")
    pair.same("UPDATE things SET k = k + 40 WHERE id >= 900")
    pair.same("SELECT * FROM things WHERE id >= 900")
    pair.run("SAVEPOINT here")
    pair.same("UPDATE things SET k = k + 400, n = n + 1")
    pair.compare()
    pair.run("ROLLBACK TO here")
    pair.compare()
    pair.run("COMMIT")
    pair.compare()
    place.check_places()
    pair.run("BEGIN")
    pair.same("UPDATE things SET k = k + 400, n = n + 1")
    pair.run("ROLLBACK")
    pair.compare()
    pair.run("SET autocommit = 0")
    pair.same("UPDATE things SET k = k + 400, n = n + 1")
    pair.run("ROLLBACK")
    pair.compare()
    pair.same("UPDATE things SET k = k + 500, n = n + 1")
    pair.run("COMMIT", "SET autocommit = 1")
    pair.compare()


def test_a_key_that_is_there_already(pair: Pair) -> None:
    """It is met on the new shard, when rows have left the old ones."""
    one, other = [k for k in range(200, 300) if _shard(k) != _shard(203)][:2]
    pair.run(f"INSERT INTO parts VALUES ({one}, 1, 1), (203, 1, 1), ({other}, 2, 1)")
    sql = f"UPDATE parts SET k = 203, n = 5 WHERE k IN ({one}, {other})"
    assert pair.same(sql).errno == 1062
    pair.compare(sql)
    pair.run("BEGIN", "INSERT INTO parts VALUES (300, 1, 1)")
    assert pair.same(sql).errno == 1062
    pair.compare(sql)
    pair.run("COMMIT")
    pair.compare(sql)
    pair.same("UPDATE people SET k = 7, name = 'twice' WHERE id IN (1, 2)")
    pair.compare("people")


def test_errors_of_values(pair: Pair) -> None:
    for sql in (
        "UPDATE things SET k = 3, nothing = 4 WHERE id = 1",
        "UPDATE things SET k = 3, n = 'x' WHERE n = 5",
        "UPDATE things SET k = 3, s = REPEAT('x', 100) WHERE id IN (4, 5)",
        "UPDATE things SET k = 3 WHERE nothing = 4",
        "UPDATE parts SET k = 30, n = 1000000 WHERE part IN (1, 2)",
    ):
        pair.same(sql)
        pair.compare()
    # In a strict mode a server fails by a string that is no number, or warns of it: that depends on its plan.
    assert pair.client.query("UPDATE things SET k = 3 WHERE s = 5").errno == 1292
    pair.run("SET sql_mode = ''")
    pair.same("UPDATE things SET k = 3 WHERE s = 5")
    pair.same("UPDATE things SET k = 99, l = 'much too long for this' WHERE id < 3")
    pair.same("SHOW COUNT(*) WARNINGS")
    pair.run("SET sql_mode = DEFAULT")
    pair.compare()


def test_what_is_not_certain_is_refused(pair: Pair) -> None:
    pair.refused("UPDATE things SET k = NULL WHERE id = 1", "is NULL, out of range")
    pair.refused("UPDATE things SET k = k / 2 WHERE id = 1", "not of the column's")
    pair.refused("UPDATE things SET n = n + 1, k = n WHERE id = 1", "assigned before it")
    pair.refused("UPDATE IGNORE things SET k = k + 1", "IGNORE")
    pair.refused("UPDATE bags SET k = k + 1", "has no primary key")
    pair.refused("UPDATE words SET w = 'é' WHERE id = 1", "equality under the column's collation")
    other = next(k for k in range(401, 500) if _shard(k) != _shard(400))
    pair.run(f"INSERT INTO parts VALUES (400, 1, 1), ({other}, 1, 1)")
    swap = f"UPDATE parts SET k = {400 + other} - k WHERE part = 1 AND k >= 400"
    pair.refused(swap, "order in which it goes over the rows")
    pair.run("SELECT 1")
    pair.compare()


def test_types_and_columns_of_the_server(pair: Pair, place: Place) -> None:
    """ON UPDATE, a foreign key to a row that is on the new shard only, and tables that are left alone."""
    for server in (place.mirror, *place.servers.values()):
        server.execute(
            "CREATE TABLE parents (k INT PRIMARY KEY, n INT)",
            "CREATE TABLE children (id INT PRIMARY KEY, k INT NOT NULL, n INT, changed TIMESTAMP(6) NOT NULL "
            "DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6), FOREIGN KEY (k) REFERENCES parents (k))",
            "CREATE TABLE watched (id INT PRIMARY KEY, k INT NOT NULL)",
            "CREATE TRIGGER watching BEFORE UPDATE ON watched FOR EACH ROW SET NEW.id = NEW.id",
            database=DATABASE,
        )
    tables = "      photos:"
    more = "".join(f"      {name}: {{sharding: by_k, key: k}}\n" for name in ("parents", "children", "watched"))
    rules = place.rules.replace(tables, more + tables)
    proxy = place.run.turnout(rules)
    fresh = Pair(proxy, place.mirror)
    try:
        fresh.run(
            "INSERT INTO parents VALUES " + ", ".join(f"({n}, {n})" for n in range(1, 9)),
            "INSERT INTO children (id, k, n, changed) VALUES (1, 1, 1, '2020-01-01'), (2, 2, 2, '2020-01-01'), "
            "(3, 3, 3, '2020-01-01')",
            "INSERT INTO watched VALUES (1, 1)",
        )
        fresh.same("UPDATE children SET k = k + 5")
        fresh.same("SELECT id, k, n, changed > '2024-01-01' FROM children")
        before = place.client_rows(proxy, "SELECT id, changed FROM children ORDER BY id")
        fresh.same("UPDATE children SET k = k + 0")
        assert place.client_rows(proxy, "SELECT id, changed FROM children ORDER BY id") == before
        ours, theirs = (c.query("UPDATE children SET k = 99 WHERE id = 1") for c in (fresh.client, fresh.mirror))
        assert (ours.errno, ours.sqlstate) == (theirs.errno, theirs.sqlstate) == (1452, "23000")
        fresh.same("SELECT id, k, n FROM children")
        fresh.refused("UPDATE parents SET k = 50 WHERE k = 8", "foreign keys of other tables refer to it")
        fresh.refused("UPDATE watched SET k = 50 WHERE id = 1", "triggers")
    finally:
        fresh.close()
        end(proxy)
        for server in (place.mirror, *place.servers.values()):
            server.execute("DROP TABLE children, parents, watched", database=DATABASE)


def test_others_wait_for_rows_that_move(pair: Pair, place: Place) -> None:
    """What the SELECT found cannot change before it is written."""
    pair.client.run("BEGIN", "UPDATE parts SET k = k + 600 WHERE part < 20")
    other = Client(place.proxy.port, APP, APP_PASSWORD, DATABASE)
    other.run("SET innodb_lock_wait_timeout = 1")
    assert other.query("UPDATE parts SET n = 1 WHERE part = 3").errno == 1205
    assert other.query("UPDATE parts SET k = 6000 WHERE part = 3").errno == 1205
    other.abort()
    pair.client.run("ROLLBACK")
    pair.compare()
