"""UPDATE and DELETE whose rows or values depend on tables of other clusters, and of several tables."""

from __future__ import annotations

import pytest

from tests.servers.shop import DATABASE
from tests.writes.shop import Pair, Place

pytestmark = pytest.mark.servers


@pytest.mark.parametrize(
    "sql",
    [
        # conditions over clusters
        "DELETE FROM photos WHERE k IN (SELECT k FROM things WHERE n > 3)",
        "DELETE FROM things WHERE n IN (SELECT n FROM photos WHERE title = 'a')",
        "DELETE FROM things WHERE NOT EXISTS (SELECT 1 FROM photos WHERE photos.k = things.k)",
        "DELETE FROM users WHERE id IN (SELECT id FROM people)",
        "DELETE FROM parts WHERE n > (SELECT AVG(n) FROM parts AS p)",
        "DELETE FROM parts WHERE part IN (SELECT id FROM users WHERE n IS NOT NULL) ORDER BY part DESC LIMIT 4",
        "UPDATE things SET n = n + 1, s = 'seen' WHERE n IN (SELECT n FROM photos)",
        "UPDATE photos SET title = CONCAT(title, '!') WHERE k IN (SELECT k FROM people WHERE n > 5)",
        "UPDATE people SET k = k + 100 WHERE id IN (SELECT id FROM users WHERE n > 3)",
        "UPDATE things SET n = 5 WHERE id = (SELECT MAX(id) FROM words)",
        "DELETE FROM words WHERE w IN (SELECT name FROM users) OR id < 4",
        # values from other clusters
        "UPDATE things SET n = (SELECT MAX(n) FROM photos WHERE photos.k = things.k)",
        "UPDATE things SET s = (SELECT title FROM photos WHERE photos.id = things.id), n = n + 1 WHERE id < 30",
        "UPDATE things t JOIN photos p ON p.id = t.id SET t.n = p.n, t.s = p.title",
        "UPDATE things t JOIN photos p ON p.id = t.id SET t.n = t.n * 2 + p.k, t.l = 'x' WHERE p.title IS NOT NULL",
        "UPDATE photos p, things t SET p.title = t.s, p.n = t.d WHERE t.id = p.id AND t.n > 2",
        "UPDATE photos p JOIN things t ON t.id = p.id SET p.n = t.dd * 1000, p.title = t.at",
        "UPDATE users u LEFT JOIN people p ON p.id = u.id SET u.n = p.k, u.name = COALESCE(p.name, 'none')",
        "UPDATE users u JOIN photos p ON p.id = u.id SET u.name = p.title, u.n = NULL",
        "UPDATE people p JOIN photos f ON f.k = p.k SET p.n = 77",
        # one table alone, and what is none
        "UPDATE things t, (SELECT k, COUNT(*) AS many FROM parts GROUP BY k) d SET t.n = d.many WHERE d.k = t.k",
        "UPDATE things t JOIN (SELECT k, MAX(n) AS most FROM things GROUP BY k) d USING (k) SET t.n = d.most",
        "UPDATE things t LEFT JOIN (SELECT id, n FROM photos WHERE n > 2) d ON d.id = t.id SET t.n = d.n",
        "UPDATE photos p JOIN (SELECT id, dd FROM things WHERE n > 0) d ON d.id = p.id SET p.n = d.dd",
        "UPDATE things t JOIN JSON_TABLE('[1, 8]', '$[*]' COLUMNS (i INT PATH '$')) j ON j.i = t.k SET t.n = j.i + 100",
        "UPDATE users u JOIN (SELECT MAX(n) AS m FROM parts) d SET u.n = d.m WHERE u.id < 5",
        "UPDATE things t, (SELECT 2 AS two) d SET d.two = 3",
        "DELETE t FROM things t JOIN (SELECT k FROM parts GROUP BY k HAVING COUNT(*) > 2) d ON d.k = t.k",
        "UPDATE things t JOIN kinds c ON c.i = t.n JOIN users u ON u.id = t.id SET t.s = c.kind",
        "UPDATE parts a JOIN parts b ON b.part = a.part + 1 SET a.n = b.n WHERE a.part < 20",
        # several tables
        "UPDATE things t JOIN photos p ON p.id = t.id SET t.n = 100, p.title = 'both' WHERE t.id < 20",
        "DELETE t, p FROM things t JOIN photos p ON p.id = t.id WHERE t.n > 2",
        "DELETE FROM t, p USING things t JOIN photos p ON p.id = t.id WHERE p.k < 9",
        "DELETE t FROM things t JOIN users u ON u.id = t.id WHERE u.n IS NULL",
        "DELETE p FROM photos p LEFT JOIN things t ON t.id = p.id WHERE t.id IS NULL OR t.k > 5",
        "DELETE t.*, p FROM things t LEFT JOIN photos p ON p.id = t.id + 20",
        # a table with copies
        "DELETE FROM kinds WHERE i IN (SELECT n FROM things)",
        "DELETE FROM kinds ORDER BY i LIMIT 3",
        "UPDATE kinds SET kind = CONCAT(kind, '!') WHERE i IN (SELECT id FROM photos WHERE n > 3)",
        "UPDATE kinds c JOIN photos p ON p.id = c.i SET c.kind = p.title",
        "UPDATE kinds SET kind = 'first' ORDER BY i DESC LIMIT 4",
        "UPDATE things t JOIN kinds c ON c.i = t.id SET t.n = 7, c.kind = 'both' WHERE t.id < 9",
        "UPDATE kinds JOIN users ON users.id = kinds.i SET kind = users.n",
        "UPDATE kinds JOIN photos ON photos.id = kinds.i SET kind = 'k', title = 't'",
        "DELETE c, p FROM kinds c JOIN photos p ON p.id = c.i WHERE p.k > 9",
        # errors
        "UPDATE things t JOIN photos p ON p.id = t.id SET t.n = p.nothing",
        "UPDATE things t JOIN photos p ON p.id = t.id SET t.l = REPEAT(p.title, 30) WHERE p.title > ''",
        "UPDATE people t JOIN photos p ON p.id = t.id SET t.id = 7 WHERE t.id < 20",
        "UPDATE things SET n = (SELECT n FROM photos)",
    ],
)
def test_over_clusters(pair: Pair, place: Place, sql: str) -> None:
    pair.same(sql)
    pair.same("SELECT ROW_COUNT()")
    pair.compare(sql)
    if "kinds" in sql:
        copies = {s.execute("SELECT * FROM kinds ORDER BY i", database=DATABASE) for s in place.servers.values()}
        assert len(copies) == 1
    pair.run(
        "BEGIN", "INSERT INTO photos VALUES (500, 1, 1, 'mine')", "INSERT INTO things (k, id, n) VALUES (1, 500, 3)"
    )
    pair.same(sql)
    pair.compare(sql)
    pair.run("ROLLBACK")
    pair.compare(sql)


def test_others_wait_for_what_a_write_depends_on(pair: Pair, place: Place) -> None:
    pair.run("BEGIN", "UPDATE things SET n = 1 WHERE id IN (SELECT id FROM photos WHERE k < 50)")
    with place.pair() as other:
        other.run("SET innodb_lock_wait_timeout = 1")
        assert other.same("UPDATE photos SET k = k + 1 WHERE id = 3").errno == 1205
        assert other.same("UPDATE things SET n = n + 1 WHERE id = 3").errno == 1205
    pair.run("COMMIT")
    pair.compare()


def test_what_is_refused(pair: Pair) -> None:
    pair.refused("UPDATE photos p JOIN things t ON t.id = p.id SET p.n = t.f", "is FLOAT")
    pair.refused("UPDATE things t JOIN photos p ON p.id = t.id SET t.k = p.k", "depend on other tables")
    pair.refused("UPDATE things t JOIN photos p ON p.id = t.id SET t.n = p.n, p.n = t.n", "another column")
    pair.refused("UPDATE things t JOIN photos p ON p.id = t.id SET t.n = DEFAULT", "DEFAULT")
    pair.compare()
