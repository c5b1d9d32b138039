"""What is written by keys under `transactions: single`, and what several clusters may not be."""

from __future__ import annotations

import random

import pytest

from tests.front.conftest import end
from tests.writes.shop import Pair, Place, rows

pytestmark = pytest.mark.servers


def test_single_writes_on_one_cluster_what_others_decide(place: Place, pair: Pair) -> None:
    proxy = place.run.turnout(place.rules.replace("transactions: atomic", "transactions: single"))
    single = Pair(proxy, place.mirror)
    try:
        for sql in (
            "UPDATE photos SET title = 'seen' WHERE k IN (SELECT k FROM things WHERE n > 3)",
            "DELETE FROM users WHERE id IN (SELECT id FROM photos WHERE n > 4)",
            "UPDATE users u JOIN things t ON t.id = u.id SET u.n = t.n",
            "INSERT INTO users (id, name) SELECT id + 100, title FROM photos",
        ):
            single.same(sql)
            single.compare(sql)
        single.run("BEGIN", "UPDATE photos SET n = 1 WHERE id = 2")
        single.refused("DELETE FROM users WHERE id IN (SELECT id FROM photos)", "transactions: single")
        single.run("ROLLBACK")
        for sql in (
            "DELETE FROM things ORDER BY id LIMIT 3",
            "UPDATE things SET k = k + 1 WHERE id = 3",
            "INSERT INTO parts SELECT k, id + 500, n FROM photos",
            "DELETE things, photos FROM things JOIN photos ON photos.id = things.id",
        ):
            single.refused(sql, "transactions: ")
        single.compare()
    finally:
        single.close()
        end(proxy)


def test_best_effort_moves_nothing_and_undoes_what_fails(place: Place, pair: Pair) -> None:
    proxy = place.run.turnout(place.rules.replace("transactions: atomic", "transactions: best_effort"))
    both = Pair(proxy, place.mirror)
    try:
        both.refused("UPDATE things SET k = k + 1 WHERE id = 3", "needs `transactions: atomic`")
        for sql in (
            "DELETE FROM things WHERE n > 2 ORDER BY id LIMIT 9",
            "UPDATE things SET n = 5 WHERE id IN (SELECT id FROM photos)",
            "INSERT INTO parts SELECT k, id + 500, n FROM photos",
            "UPDATE parts SET n = IF(part = 510, 2000000, 1) WHERE part IN (SELECT id + 500 FROM users)",
            "INSERT INTO parts SELECT k, part + IF(part = 7, 0, 1000), n FROM parts WHERE part < 60",
        ):
            both.same(sql)
            both.compare(sql)
            both.run("BEGIN", "UPDATE parts SET n = 0 WHERE part = 1")
            both.same(sql)
            both.run("COMMIT")
            both.compare(sql)
            both.run(*rows(random.Random(5)))
    finally:
        both.close()
        end(proxy)


def test_new_ids_of_sharded_tables_are_not_assigned(pair: Pair) -> None:
    """Also where another table decides: a sequence hands them out."""
    pair.run("INSERT INTO counted (id, k) VALUES (900001, 1)")
    sql = "UPDATE counted c JOIN photos p ON p.k = c.k SET c.id = p.id"
    pair.refused(sql, "AUTO_INCREMENT")
    pair.run("DELETE FROM counted")


def test_messages_number_the_rows_that_the_client_wrote(pair: Pair) -> None:
    for sql in (
        "INSERT INTO things (k, id, l) VALUES (1, 900, 'a'), (2, 900, 'b'), (8, 900, 'c'), (3, 900, 'far too long')",
        "INSERT INTO things (k, id, n) VALUES (8, 900, 1), (9, 900, 99999999999), (1, 900, 99999999999), (2, 900, 1)",
        "INSERT IGNORE INTO things (k, id, l, n) VALUES (1, 900, 'a', 1), (2, 900, 'far too long', 1), (3, 900, '', 1),"
        " (8, 900, 'far too long', 99999999999), (1, 901, 'c', 1), (9, 900, 'd', -99999999999)",
        "REPLACE INTO things (k, id, n) VALUES (3, 900, 1), (1, 902, 1), (2, 902, 99999999999), (8, 902, 1)",
    ):
        ours, theirs = pair.client.query(sql), pair.mirror.query(sql)
        assert (ours.errno, ours.message, ours.warnings) == (theirs.errno, theirs.message, theirs.warnings), sql
        if ours.ok:
            assert pair.client.query("SHOW WARNINGS").rows == pair.mirror.query("SHOW WARNINGS").rows, sql
    pair.compare("things")
