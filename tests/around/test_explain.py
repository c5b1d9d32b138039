"""EXPLAIN of a statement for several shards: each explains its share."""

from __future__ import annotations

import pytest

from tests.around.logical import Logical, Pair
from tests.front.raw import Answer, Client, Statement
from tests.servers.shop import APP, APP_PASSWORD, DATABASE

pytestmark = pytest.mark.servers


def _by_cluster(answer: Answer) -> dict[bytes | None, list[tuple[bytes | None, ...]]]:
    found: dict[bytes | None, list[tuple[bytes | None, ...]]] = {}
    for *row, cluster in answer.checked().rows:
        found.setdefault(cluster, []).append(tuple(row))
    return found


@pytest.mark.parametrize(
    "sql",
    [
        "EXPLAIN SELECT * FROM customers",
        "EXPLAIN SELECT c.name, o.total FROM customers c JOIN orders o ON o.customer_id = c.id WHERE o.total > 3",
        "EXPLAIN FORMAT=JSON SELECT COUNT(*) FROM orders",
        "EXPLAIN EXTENDED SELECT COUNT(*) FROM orders",
        "DESC SELECT age FROM customers WHERE id IN (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)",
        "EXPLAIN DELETE FROM orders WHERE total > 3",
    ],
)
def test_each_shard_explains(logical: Logical, pair: Pair, sql: str) -> None:
    answer = pair.client.query(sql)
    found = _by_cluster(answer)
    assert answer.columns[-1].name == b"cluster"
    assert list(found) == [b"shard0", b"shard1"]
    for name, rows in found.items():
        assert name is not None
        with Client(logical.shop.server(name.decode()).port, APP, APP_PASSWORD, DATABASE) as client:
            told = client.query(sql).checked()
            assert rows == list(told.rows)
            assert [c.name for c in answer.columns[:-1]] == [c.name for c in told.columns]


def test_the_text_that_shards_get_is_explained(pair: Pair) -> None:
    """The shards sort by a hidden column, which makes them read more than the index."""
    answer = pair.client.query("EXPLAIN SELECT id FROM customers ORDER BY name LIMIT 2").checked()
    assert [row[-1] for row in answer.rows] == [b"shard0", b"shard1"]
    analysed = pair.client.query("ANALYZE SELECT id FROM customers ORDER BY name LIMIT 2").checked()
    assert b"r_rows" in [column.name for column in analysed.columns]


def test_one_shard_explains_alone(pair: Pair) -> None:
    answer = pair.client.query("EXPLAIN SELECT * FROM customers WHERE id = 5").checked()
    assert answer.columns[-1].name == b"Extra"


def test_an_error_comes_through(pair: Pair) -> None:
    assert pair.client.query("EXPLAIN SELECT nothing FROM customers").errno == 1054
    assert pair.client.query("SELECT 1").number == 1


def test_prepared(pair: Pair) -> None:
    statement = pair.client.prepare("EXPLAIN SELECT * FROM customers WHERE age > ?")
    assert isinstance(statement, Statement)
    answer = pair.client.execute(statement, 5).checked()
    assert len(answer.rows) == 1
    assert answer.columns[-1].name == b"Extra"
