"""What is counted of a sharded table is added up over its shards."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.around.logical import Logical, Pair
from tests.front.raw import Answer
from tests.servers.shop import DATABASE

pytestmark = pytest.mark.servers
STATUS = "SHOW TABLE STATUS LIKE 'customers'"


@pytest.fixture(scope="module")
def filled(logical: Logical) -> Iterator[Logical]:
    """Shards with 10 and 5 customers of 15 different ages and 2 names, whose counters stand at 16 and 101."""
    for name, first, count in (("shard0", 1, 10), ("shard1", 96, 5)):
        rows = ", ".join(f"({n}, 'n{n % 2}', {n})" for n in range(first, first + count))
        server = logical.shop.server(name)
        server.execute(f"INSERT INTO customers VALUES {rows}", "ANALYZE TABLE customers", database=DATABASE)
    yield logical
    for name in ("shard0", "shard1"):
        logical.shop.server(name).execute("DELETE FROM customers", "ANALYZE TABLE customers", database=DATABASE)


def _of_shards(filled: Logical, sql: str) -> list[tuple[int, ...]]:
    rows = [filled.shop.server(name).execute(sql, database=DATABASE)[0] for name in ("shard0", "shard1")]
    return [tuple(map(int, row)) for row in rows]


def test_sizes_and_rows(filled: Logical, pair: Pair) -> None:
    columns = "TABLE_ROWS, DATA_LENGTH, INDEX_LENGTH, DATA_FREE, MAX_DATA_LENGTH"
    where = f"FROM information_schema.TABLES WHERE TABLE_SCHEMA = '{DATABASE}' AND TABLE_NAME = 'customers'"
    first, second = _of_shards(filled, f"SELECT {columns} {where}")
    (row,) = pair.client.query(f"SELECT {columns}, AVG_ROW_LENGTH {where}").checked().rows
    *totals, mean = [int(value or 0) for value in row]
    assert totals == [a + b for a, b in zip(first, second)]
    assert totals[0] == 15
    assert mean == totals[1] // 15
    assert pair.client.query(f"SELECT AUTO_INCREMENT {where}").number == 101


def test_conditions_and_aggregates_see_the_totals(filled: Logical, pair: Pair) -> None:
    where = f"FROM information_schema.TABLES WHERE TABLE_SCHEMA = '{DATABASE}'"
    assert pair.client.query(f"SELECT TABLE_NAME {where} AND TABLE_ROWS = 15").value == b"customers"
    assert pair.client.query(f"SELECT SUM(TABLE_ROWS) {where} AND TABLE_NAME LIKE 'cust%'").value == b"15"


def test_show_table_status(filled: Logical, pair: Pair) -> None:
    first, second = _of_shards(
        filled,
        "SELECT TABLE_ROWS, DATA_LENGTH, INDEX_LENGTH FROM information_schema.TABLES WHERE TABLE_NAME = 'customers'"
        f" AND TABLE_SCHEMA = '{DATABASE}'",
    )
    shown = _shown(pair.client.query(STATUS))
    assert [shown["Rows"], shown["Data_length"], shown["Index_length"]] == [a + b for a, b in zip(first, second)]
    assert shown["Avg_row_length"] == shown["Data_length"] // 15
    assert shown["Auto_increment"] == 101


def _shown(answer: Answer) -> dict[str, int]:
    (row,) = answer.checked().rows
    named = zip((column.name.decode() for column in answer.columns), row)
    return {name: int(value) for name, value in named if value is not None and value.isdigit()}


def test_cardinality_is_a_sum_where_the_shard_key_is_in_the_index(filled: Logical, pair: Pair) -> None:
    answer = pair.client.query(
        "SELECT INDEX_NAME, SEQ_IN_INDEX, CARDINALITY FROM information_schema.STATISTICS WHERE TABLE_SCHEMA ="
        f" '{DATABASE}' AND TABLE_NAME = 'customers' ORDER BY 1, 2"
    )
    first, second = (
        filled.shop.server(name).execute(
            "SELECT CARDINALITY FROM information_schema.STATISTICS WHERE TABLE_NAME = 'customers' AND TABLE_SCHEMA ="
            f" '{DATABASE}' ORDER BY INDEX_NAME, SEQ_IN_INDEX"
        )
        for name in ("shard0", "shard1")
    )
    pairs = [(int(a), int(b)) for (a,), (b,) in zip(first, second)]
    found = [(name, int(part or 0), int(count or 0)) for name, part, count in answer.checked().rows]
    assert found == [
        (b"by_age", 1, max(pairs[0])),
        (b"by_age", 2, sum(pairs[1])),
        (b"by_name", 1, max(pairs[2])),
        (b"PRIMARY", 1, 15),
    ]


def test_a_where_about_totals_is_refused(pair: Pair) -> None:
    answer = pair.client.query("SHOW TABLE STATUS WHERE `Rows` > 3")
    assert answer.errno == 1235
    assert "added up over the shards of shop.customers" in answer.message
