"""Empty databases on every cluster of a sharded shop and on one server, for an application each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from tests.front.conftest import end
from tests.servers import MariaDB, Run, Shop, Turnout
from tests.servers.shop import APP, APP_PASSWORD, DATABASE

CLUSTERS = ("main", "media", "shard0", "shard1")
RULES = """\
workers: 2
{servers}
shardings:
  by_customer: {{method: hash, clusters: [shard0, shard1]}}
databases:
  shop:
    home: main
    tables:
{tables}
transactions: atomic
workbench: {{cluster: main}}
health: {{timeout: 30s, connect_timeout: 30s}}
"""


@dataclass(frozen=True, slots=True)
class World:
    proxy: Turnout
    reference: MariaDB
    shop: Shop

    def tables(self, cluster: str) -> set[str]:
        return {str(row[0]) for row in self.shop.server(cluster).execute("SHOW TABLES", database=DATABASE)}

    def rows(self, cluster: str, table: str) -> int:
        return int(self.shop.server(cluster).execute(f"SELECT COUNT(*) FROM {table}", database=DATABASE)[0][0])


@pytest.fixture(scope="session")
def reference(run: Run) -> MariaDB:
    server = run.mariadb("apps-reference")
    server.create_account(APP, APP_PASSWORD)
    return server


@pytest.fixture
def world(run: Run, shop_servers: Shop, reference: MariaDB) -> Iterator[Callable[[str], World]]:
    """A factory: of the `tables` of the rules, a Turnout over empty databases."""
    proxies: list[Turnout] = []

    def make(tables: str) -> World:
        for name in CLUSTERS:
            shop_servers.server(name)
        shop_servers.recreate()
        reference.execute(f"DROP DATABASE IF EXISTS {DATABASE}", f"CREATE DATABASE {DATABASE}")
        rules = RULES.format(servers=shop_servers.rules(*CLUSTERS), tables=tables)
        proxies.append(run.turnout(rules))
        return World(proxies[0], reference, shop_servers)

    yield make
    for proxy in proxies:
        end(proxy)
