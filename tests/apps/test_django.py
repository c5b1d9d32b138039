"""A Django application on a sharded schema is answered as on one server."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.apps.conftest import World
from tests.apps.playing import compare, play

pytestmark = [pytest.mark.thorough, pytest.mark.servers, pytest.mark.slow, pytest.mark.timeout(600)]
TABLES = """\
      shop_customer: {sharding: by_customer, key: id}
      shop_order: {sharding: by_customer, key: customer_id}
      shop_orderline: {sharding: by_customer, key: customer_id}
      shop_product: {everywhere: true}
      shop_note: {cluster: media}
      shop_tag: {cluster: media}
      shop_note_tags: {cluster: media}
"""


def test_the_shop(world: Callable[[str], World]) -> None:
    made = world(TABLES)
    expected = play("django_shop", made.reference.port)
    *steps, last = expected
    assert last == "flush"
    found = play("django_shop", made.proxy.port, *steps)
    compare(found, expected)
    assert list(found) == steps
    assert made.tables("media") == {"shop_product", "shop_note", "shop_tag", "shop_note_tags"}
    for shard in ("shard0", "shard1"):
        assert made.tables(shard) == {"shop_customer", "shop_order", "shop_orderline", "shop_product"}
        assert made.rows(shard, "shop_customer") > 5
        assert made.rows(shard, "shop_order") > 0
        assert made.rows(shard, "shop_product") == made.rows("main", "shop_product") > 5
    assert not made.tables("main") & {"shop_customer", "shop_order", "shop_note", "shop_tag"}
    assert {"auth_user", "django_migrations", "django_session", "shop_product"} <= made.tables("main")
    compare(play("django_shop", made.proxy.port, last), expected)
    assert made.rows("shard0", "shop_customer") == made.rows("shard1", "shop_customer") == 0
