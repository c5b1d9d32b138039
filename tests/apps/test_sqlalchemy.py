"""An application of SQLAlchemy's ORM and Alembic on a sharded schema is answered as on one server."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.apps.conftest import World
from tests.apps.playing import compare, play

pytestmark = [pytest.mark.thorough, pytest.mark.servers, pytest.mark.slow, pytest.mark.timeout(600)]
TABLES = """\
      customers: {sharding: by_customer, key: id}
      orders: {sharding: by_customer, key: customer_id}
      order_lines: {sharding: by_customer, key: customer_id}
      products: {everywhere: true}
      notes: {cluster: media}
"""


def test_the_shop(world: Callable[[str], World]) -> None:
    made = world(TABLES)
    expected = play("sqlalchemy_shop", made.reference.port)
    *steps, last = expected
    assert last == "down"
    found = play("sqlalchemy_shop", made.proxy.port, *steps)
    compare(found, expected)
    assert list(found) == steps
    assert found["compared"] == []
    assert made.tables("media") == {"notes", "products"}
    for shard in ("shard0", "shard1"):
        assert made.tables(shard) == {"customers", "orders", "order_lines", "products"}
        assert made.rows(shard, "customers") > 5
        assert made.rows(shard, "order_lines") > 0
    assert made.tables("main") == {"alembic_version", "baskets", "employees", "products"}
    compare(play("sqlalchemy_shop", made.proxy.port, last), expected)
    assert made.tables("shard0") == made.tables("media") == set()
