"""INSERT and REPLACE .. SELECT from and into tables of several clusters."""

from __future__ import annotations

import re

import pytest

from tests.front.raw import Statement
from tests.servers.shop import DATABASE
from tests.writes.shop import SHARDS, Pair, Place

pytestmark = pytest.mark.servers


def fresh_ids(place: Place) -> None:
    """The servers go on where the rows end: a statement that fails, or inserts many, leaves gaps of its own making."""
    for table, cluster in (("photos", "media"), ("users", "main")):
        for server in (place.servers[cluster], place.mirror):
            server.execute(f"ALTER TABLE {table} AUTO_INCREMENT = 1", database=DATABASE)


@pytest.mark.parametrize(
    "sql",
    [
        # into sharded tables
        "INSERT INTO parts SELECT k, id + 1000, n FROM things",
        "INSERT INTO parts (part, k, n) SELECT id + 1000, id, n FROM photos WHERE title IS NOT NULL",
        "INSERT INTO parts (k, part) SELECT n + 3, id + 1000 FROM users WHERE n IS NOT NULL",
        "INSERT INTO parts (k, part, n) SELECT t.k, p.id + 1000, t.n FROM things t JOIN photos p ON p.id = t.id",
        "INSERT INTO parts (k, part, n) SELECT k, MAX(part) + 1000, COUNT(*) FROM parts GROUP BY k",
        "INSERT INTO parts (k, part, n) SELECT n, part + 1000, k FROM parts WHERE n IS NOT NULL ORDER BY part LIMIT 7",
        "INSERT INTO parts (k, part, n) SELECT 5, 1000, 1",
        "INSERT INTO parts (k, part, n) SELECT k, id + 1000, 1 FROM things WHERE id > 10000",
        "INSERT INTO things (k, id, n, s, l, d, at, raw, bits, hidden) "
        "SELECT k + 1, id + 1000, n, s, l, d, at, raw, bits, hidden FROM things",
        "INSERT INTO things (k, id, dd, s, d, at, n) SELECT id, id + 1000, n / 7e0, n, n / 3, taken, n FROM "
        "(SELECT id, n, '2024-05-06' + INTERVAL id DAY AS taken FROM photos) AS p",
        "INSERT INTO things (k, id, s, e) SELECT id, id + 1000, title, IF(id > 9, 'x', 'y') FROM photos",
        "INSERT INTO words SELECT name, id + 1000, n FROM people",
        "INSERT INTO words (w, id) SELECT CONCAT(name, ' '), id + 1000 FROM users",
        "INSERT INTO bags SELECT k, n FROM photos",
        "INSERT INTO people (id, k, name, n) SELECT id + 1000, k, title, n FROM photos",
        # what is in the way
        "INSERT IGNORE INTO parts SELECT k, part, 77 FROM parts WHERE part < 10 UNION SELECT 3, 2000, 3",
        "INSERT INTO parts SELECT k, part + IF(part = 7, 0, 1000), 77 FROM parts",
        "REPLACE INTO parts SELECT k, part, 77 FROM parts WHERE part < 30 UNION ALL SELECT id, 1000, 1 FROM users",
        "INSERT INTO parts (k, part, n) SELECT k, part, part + 50 FROM parts "
        "ON DUPLICATE KEY UPDATE n = VALUES(n) + 1, part = VALUES(part)",
        # into tables of one cluster
        "INSERT INTO photos (k, n, title) SELECT k, n, s FROM things WHERE n > 2 ORDER BY id",
        "INSERT INTO photos (id, k, title) SELECT id + 1000, k, name FROM people ORDER BY id",
        "INSERT INTO users (n, name) SELECT n, title FROM photos ORDER BY id",
        "INSERT INTO users SELECT id + 2000, n, title FROM photos ORDER BY id",
        "REPLACE INTO users (id, name) SELECT id, title FROM photos ORDER BY id",
        "INSERT IGNORE INTO users (id, name) SELECT id, title FROM photos ORDER BY id",
        "INSERT INTO users (id, name) SELECT id, title FROM photos ORDER BY id ON DUPLICATE KEY UPDATE name = 'dup'",
        "INSERT INTO users (name) SELECT COUNT(*) FROM things",
        "INSERT INTO users (n) SELECT id FROM photos WHERE id < 0",
        # into a table with copies
        "INSERT INTO kinds SELECT id + 1000, title FROM photos",
        "INSERT IGNORE INTO kinds SELECT n, s FROM things WHERE n IS NOT NULL ORDER BY id",
        "REPLACE INTO kinds SELECT id, name FROM users ORDER BY id",
        # errors
        "INSERT INTO parts SELECT k, id FROM things",
        "INSERT INTO parts (k, part, nothing) SELECT k, id, n FROM things",
        "INSERT INTO parts (k, part, n) SELECT k, id, nothing FROM things",
        "INSERT INTO photos (k, title) SELECT k, REPEAT('x', 40) FROM things",
        "INSERT INTO parts (k, part, n) SELECT k, id, 'x' FROM things WHERE id > 50",
        "INSERT INTO parts (k, part, n) SELECT k, id + 1000, 1000000 + id FROM things WHERE id > 50",
        "INSERT INTO things (k, id, l) SELECT k, id + 1000, '\u3042' FROM things WHERE id = 5",
        "INSERT INTO users (name) SELECT 1 / 0 FROM things WHERE id < 9",
        "INSERT INTO users (name) SELECT CAST(s AS SIGNED) FROM things WHERE s = 'a'",
    ],
)
def test_over_clusters(pair: Pair, place: Place, sql: str) -> None:
    fresh_ids(place)
    pair.run("SET @@session.last_insert_id = 99")
    ours = pair.same(sql)
    pair.same("SELECT LAST_INSERT_ID()")
    pair.same("SHOW COUNT(*) WARNINGS")
    pair.compare(sql)
    if ours.ok and not re.search(r"INTO (photos|users) \((k|n|name)\b", sql):  # which ids come next is another matter
        mine = "INSERT INTO things (k, id, n) VALUES (1, 500, 3)"
        pair.run("DELETE FROM parts WHERE part >= 1000", "DELETE FROM things WHERE id >= 500")
        pair.run("BEGIN", "INSERT INTO photos VALUES (500, 1, 1, 'mine')", mine)
        if "UNION" not in sql and "(SELECT" not in sql:
            pair.same(sql)
        pair.compare(sql)
        pair.run("ROLLBACK")
        pair.compare(sql)


def test_the_insert_id_is_that_of_one_server(pair: Pair, place: Place) -> None:
    for sql in (
        "INSERT INTO users (n, name) SELECT n, title FROM photos ORDER BY id",
        "INSERT INTO users (id, name) SELECT id + 5000, title FROM photos ORDER BY id",
        "INSERT INTO users (n) SELECT id FROM photos WHERE id < 0",
        "INSERT INTO counted (id, k, n) SELECT part + 7000, part, n FROM parts WHERE k < 9 ORDER BY part",
    ):
        fresh_ids(place)
        ours, theirs = pair.client.query(sql), pair.mirror.query(sql)
        assert ours.checked().insert_id == theirs.checked().insert_id, sql
        pair.same("SELECT LAST_INSERT_ID()")


def test_ids_from_the_sequence(pair: Pair) -> None:
    """Rows without ids get them from home; they are unique over the shards, and the first is the insert id."""
    answer = pair.client.query("INSERT INTO counted (k, n) SELECT k, id FROM things").checked()
    assert answer.affected_rows == 60
    ids = [int(row[0] or 0) for row in pair.client.query("SELECT id FROM counted ORDER BY id").rows]
    assert len(set(ids)) == 60
    assert answer.insert_id == ids[0] == pair.client.query("SELECT LAST_INSERT_ID()").number
    again = pair.client.query("INSERT INTO counted SELECT NULL, n + 1000, k FROM counted").checked()
    assert again.affected_rows == 60
    assert pair.client.query("SELECT COUNT(DISTINCT id) FROM counted").number == 120
    assert again.insert_id > ids[-1]
    mixed = pair.client.query(
        f"REPLACE INTO counted (id, k, n) SELECT IF(n < 30, NULL, id + 100000), k, n FROM counted WHERE id <= {ids[-1]}"
    )
    assert mixed.errno == 1235, mixed  # the id may be another shard's
    pair.run("DELETE FROM counted")
    pair.compare()


def test_many_rows_go_by_way_of_a_file(pair: Pair) -> None:
    pair.run("INSERT INTO photos (id, k, title) SELECT seq + 100, seq % 50, REPEAT('x', 30) FROM seq_1_to_60000")
    pair.same("INSERT INTO words (w, id, n) SELECT LEFT(title, 20), id + 100, k FROM photos WHERE title LIKE 'xxx%'")
    pair.same(
        "INSERT INTO parts (k, part, n) SELECT id, id + 100000, LENGTH(title) FROM photos WHERE id BETWEEN 101 AND 4000"
    )
    pair.same("INSERT INTO users (id, n, name) SELECT part, n, 'x' FROM parts WHERE part > 100000 ORDER BY part")
    pair.compare()
    pair.run("DELETE FROM photos WHERE id > 40", "DELETE FROM parts WHERE part > 100000")
    pair.run("DELETE FROM words WHERE id > 100", "DELETE FROM users WHERE id > 100000")


def test_modes_that_are_not_strict(pair: Pair, place: Place) -> None:
    fresh_ids(place)
    pair.run("SET sql_mode = ''")
    for sql in (
        "INSERT INTO people (id, k, name) SELECT 900, NULLIF(id, id), 'x' FROM photos",
        "INSERT INTO photos (k, title) SELECT k, REPEAT('y', 40) FROM things WHERE id < 3 ORDER BY id",
        "INSERT INTO parts (k, part, n) SELECT id, part, 'x1' FROM (SELECT id, id + 2000 AS part FROM users) u",
        "INSERT INTO users (id, n) SELECT 0, '12abc' FROM photos ORDER BY id",
    ):
        if "NULLIF" in sql:
            pair.refused(sql, "is NULL")
        else:
            pair.same(sql)
            pair.same("SHOW COUNT(*) WARNINGS")
    pair.compare()
    pair.run("SET sql_mode = DEFAULT")


def test_what_is_refused(pair: Pair, place: Place) -> None:
    pair.refused("INSERT INTO things (k, id, dd) SELECT k, id + 1000, f FROM things", "is FLOAT")
    for value in ("0x35", "bits", "f", "e", "X'35'"):
        pair.refused(f"INSERT INTO parts (k, part) SELECT {value}, id + 1000 FROM things", "go through Turnout")
    pair.refused("INSERT INTO photos (n) SELECT 0x35 FROM things", "a binary string")
    pair.refused("INSERT INTO parts (part, n) SELECT id, n FROM things", "gives it no value")
    pair.refused("INSERT INTO parts (k, part) SELECT n, id + 1000 FROM things", "is NULL")
    pair.refused("INSERT INTO parts (k, part) SELECT d, id + 1000 FROM things", "not of the column's type")
    pair.refused("INSERT IGNORE INTO people SELECT id, k, title, n FROM photos", "unique keys")
    pair.refused("INSERT INTO parts SELECT k, part, n FROM parts ON DUPLICATE KEY UPDATE k = 5", "shard key")
    pair.run("BEGIN")
    pair.refused("INSERT INTO parts SELECT 1, 2000, 3 UNION SELECT 1, 2001, 4", "UNION")
    pair.run("ROLLBACK")
    pair.compare()
    for server in place.servers.values():
        assert not server.execute("SELECT * FROM information_schema.INNODB_TRX WHERE trx_rows_modified > 0")


def test_columns_that_change_places_meanwhile(pair: Pair, place: Place) -> None:
    """Past Turnout, which goes by the old definition: a row must be where its key belongs (`check_places`)."""
    client, shards = pair.client, [place.servers[name] for name in SHARDS]
    expected = pair.mirror.query("SELECT COUNT(*) FROM parts WHERE n IS NOT NULL").number + 7
    client.run("DELETE FROM bags")
    insert = client.prepare("INSERT INTO bags VALUES (?, ?)")
    assert isinstance(insert, Statement)
    try:
        for shard in shards:
            shard.execute("ALTER TABLE bags MODIFY n INT NOT NULL FIRST, MODIFY k INT NOT NULL", database=DATABASE)
        client.run("INSERT INTO bags VALUES (5, 6)", "INSERT INTO bags VALUES (1, 12), (7, 2), (12, 13)")
        client.run("INSERT INTO bags () VALUES (19, 1)", "INSERT bags VALUE (3, 4)")
        assert client.execute(insert, 8, 9).checked().affected_rows == 1
        client.run("INSERT INTO bags SELECT k, n FROM parts WHERE n IS NOT NULL")
        place.check_places()
        found = sum(int(shard.execute("SELECT COUNT(*) FROM bags", database=DATABASE)[0][0]) for shard in shards)
        assert found == expected
    finally:
        for shard in shards:
            shard.execute("DELETE FROM bags", database=DATABASE)
            shard.execute("ALTER TABLE bags MODIFY k INT NOT NULL FIRST, MODIFY n INT", database=DATABASE)
