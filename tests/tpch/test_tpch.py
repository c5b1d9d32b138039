"""TPC-H's 22 queries over four shards, at scale 0.01: the answers of one server with all the rows."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.front.conftest import end
from tests.servers import MariaDB, Run, Shop, Turnout
from tests.tpch.queries import QUERIES
from tests.tpch.warehouse import prepare
from tests.workbench.shop import Pair

pytestmark = [pytest.mark.servers, pytest.mark.thorough]


@pytest.fixture(scope="module")
def warehouse(run: Run, shop_servers: Shop) -> Iterator[tuple[Turnout, MariaDB, dict[str, int]]]:
    made = prepare(run, shop_servers)
    yield made
    end(made[0])


def test_rows_are_where_the_rules_say(warehouse: tuple[Turnout, MariaDB, dict[str, int]]) -> None:
    """The shards were filled past Turnout: of every tenth order it finds as many lines as there are."""
    proxy, mirror, counts = warehouse
    assert counts["lineitem"] > 50_000
    pair = Pair(proxy, mirror)
    for key in range(1, 500, 7):
        pair.same(f"SELECT * FROM lineitem WHERE l_orderkey = {key}")
        pair.same(f"SELECT * FROM customer WHERE c_custkey = {key}")
        pair.same(f"SELECT * FROM part JOIN partsupp ON ps_partkey = p_partkey WHERE p_partkey = {key}")
    for table, count in counts.items():
        assert int(pair.same(f"SELECT COUNT(*) FROM {table}").value or 0) == count
    pair.close()


@pytest.mark.parametrize("name", QUERIES)
def test_query(warehouse: tuple[Turnout, MariaDB, dict[str, int]], name: str) -> None:
    pair = Pair(*warehouse[:2])
    try:
        answer = pair.same(QUERIES[name], ordered=True)
    finally:
        pair.close()
    assert answer.rows, "the answer is empty, so nothing was compared"
    assert any(value is not None for value in answer.rows[0])
