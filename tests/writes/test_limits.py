"""UPDATE and DELETE with ORDER BY and LIMIT over shards: the first rows of all."""

from __future__ import annotations

import pytest

from tests.writes.shop import Pair, Place

pytestmark = pytest.mark.servers


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM things ORDER BY id LIMIT 7",
        "DELETE FROM things WHERE n > 3 ORDER BY n DESC, id LIMIT 5",
        "DELETE FROM words ORDER BY w DESC, id LIMIT 4",
        "DELETE FROM people ORDER BY name LIMIT 3",
        "DELETE FROM parts WHERE n IS NULL ORDER BY part LIMIT 100",
        "DELETE FROM parts ORDER BY part LIMIT 0",
        "UPDATE things SET n = n + 1, s = 'first' ORDER BY id DESC LIMIT 9",
        "UPDATE things t SET t.n = 0 WHERE t.k IN (1, 2, 3, 4, 5) ORDER BY t.d, t.id LIMIT 3",
        "UPDATE parts SET n = 7 ORDER BY part LIMIT 10",
        "UPDATE parts SET part = part + 1 ORDER BY part DESC",
        "UPDATE people SET k = 3, n = n + 1 ORDER BY id LIMIT 12",
        "UPDATE things SET n = 'x' ORDER BY id LIMIT 2",
        "UPDATE things SET n = 1 WHERE nothing = 2 ORDER BY id LIMIT 2",
        "DELETE FROM things WHERE at < '2024-05-01' ORDER BY at, id LIMIT 8",
    ],
)
def test_the_first_rows_of_all(pair: Pair, sql: str) -> None:
    pair.same(sql)
    pair.same("SELECT ROW_COUNT()")
    pair.same("SHOW WARNINGS")
    pair.compare(sql)
    pair.run("BEGIN")
    pair.same(sql)
    pair.compare(sql)
    pair.run("ROLLBACK")
    pair.compare(sql)


def test_any_rows_without_an_order(pair: Pair) -> None:
    before = pair.client.query("SELECT COUNT(*) FROM things").number
    assert pair.client.query("DELETE FROM things LIMIT 11").checked().affected_rows == 11
    assert pair.client.query("SELECT COUNT(*) FROM things").number == before - 11
    answer = pair.client.query("UPDATE things SET n = 12345 LIMIT 13").checked()
    assert (answer.affected_rows, answer.info) == (13, b"Rows matched: 13  Changed: 13  Warnings: 0")
    assert pair.client.query("SELECT COUNT(*) FROM things WHERE n = 12345").number == 13


def test_many_rows_in_several_statements(pair: Pair) -> None:
    rows = ", ".join(f"({n % 37}, {n + 1000}, {n % 11})" for n in range(3000))
    pair.run(f"INSERT INTO parts VALUES {rows}")
    pair.same("UPDATE parts SET n = n + 1 WHERE part >= 1000 ORDER BY part LIMIT 2500")
    pair.compare()
    pair.same("DELETE FROM parts WHERE part >= 1000 ORDER BY n, part LIMIT 2500")
    pair.compare()


def test_what_is_refused(pair: Pair) -> None:
    pair.refused("DELETE FROM bags ORDER BY n LIMIT 1", "has no primary key")
    assert pair.client.query("DELETE FROM things ORDER BY nothing LIMIT 2").errno == 1054
    pair.refused("DELETE FROM things ORDER BY 1 LIMIT 1", "takes for a constant")
    pair.compare()


def test_found_rows_count_where_the_client_asked_for_it(pair: Pair, place: Place) -> None:
    """CLIENT_FOUND_ROWS: affected rows are those that matched."""
    both = Pair(place.proxy, place.mirror, flags=2)
    try:
        both.same("UPDATE parts SET n = n ORDER BY part LIMIT 10")
        both.same("UPDATE parts SET k = k ORDER BY part LIMIT 10")
        both.same("UPDATE parts SET k = k + 700, n = n WHERE part < 10")
        both.compare()
    finally:
        both.close()
