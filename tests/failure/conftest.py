"""The servers of these tests (they are killed and stopped, so nobody else may share them) and a Turnout in front."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.failure.load import Target, value
from tests.front.conftest import end
from tests.servers import MariaDB, Run, Shop, Turnout
from tests.servers.shop import APP, APP_PASSWORD, DATABASE

ROWS = 120
HEALTH = "health: {every: 0.5s, timeout: 2s, connect_timeout: 1s}\n"
DATABASES = """\
shardings:
  by_id: {method: hash, clusters: [shard0, shard1]}
databases:
  shop:
    home: main
    tables:
      orders: {reads: {from: primary}}
      users: {reads: {from: replicas, max_lag: 60s}}
      photos: {cluster: media}
      photos_log: {cluster: media}
      customers: {sharding: by_id, key: id}
"""
TABLE = "(id INT PRIMARY KEY, v VARCHAR(64) NOT NULL, hits INT NOT NULL DEFAULT 0)"


class Farm:
    """Main with a replica, media, two shards; in each table `v` follows from the key."""

    def __init__(self, run: Run) -> None:
        self.shop = Shop(run)
        shop = self.shop
        self.rules = f"workers: 2\n{shop.rules('main', 'media', 'shard0', 'shard1', replica=True)}{HEALTH}{DATABASES}"
        places = {"orders": [shop.main], "users": [shop.main], "photos": [shop.media]}
        places["customers"] = [shop.shard(0), shop.shard(1)]
        for table, servers in places.items():
            for server in servers:
                server.execute(f"CREATE TABLE {table} {TABLE}", database=DATABASE)
        # Whoever has all privileges may write on a read-only server.
        shop.media.create_account(APP, APP_PASSWORD, f"ALL PRIVILEGES ON {DATABASE}.*")
        shop.media.execute("CREATE TABLE photos_log (token INT NOT NULL)", database=DATABASE)
        proxy = run.turnout(self.rules, "loader")
        client = proxy.connect(APP, APP_PASSWORD, DATABASE)
        with client.cursor() as cursor:
            for table in places:
                rows = [f"({key}, '{value(key).decode()}')" for key in range(ROWS)]
                for values in rows if table == "customers" else [", ".join(rows)]:
                    cursor.execute(f"INSERT INTO {table} (id, v) VALUES {values}")
        client.close()
        end(proxy)
        shop.replica.catch_up()
        self.targets = {
            "main": Target("main", "orders", range(ROWS), True),
            "replica": Target("replica", "users", range(ROWS), False),
            "media": Target("media", "photos", range(ROWS), True),
            "shard0": Target("shard0", "customers", self._keys(shop.shard(0)), True),
            "shard1": Target("shard1", "customers", self._keys(shop.shard(1)), True),
        }

    @staticmethod
    def _keys(server: MariaDB) -> tuple[int, ...]:
        return tuple(row[0] for row in server.execute(f"SELECT id FROM {DATABASE}.customers"))

    def server(self, name: str) -> MariaDB:
        return self.shop.replica if name == "replica" else self.shop.server(name)

    def hits(self, target: Target) -> int:
        """All updates of the target's table that are on its server."""
        server = self.server(target.name)
        return int(server.execute(f"SELECT SUM(hits) FROM {DATABASE}.{target.table}")[0][0])


@pytest.fixture(scope="module")
def farm(run: Run) -> Farm:
    return Farm(run)


@pytest.fixture(scope="module")
def shared(run: Run, farm: Farm) -> Iterator[Turnout]:
    """One Turnout in front of the farm for the tests that leave all servers up."""
    proxy = run.turnout(farm.rules)
    yield proxy
    end(proxy)


@pytest.fixture
def turnout(run: Run) -> Iterator[Callable[..., Turnout]]:
    """A factory: `turnout(rules_text)` is a running Turnout, ended after the test, that must not have failed itself."""
    started: list[Turnout] = []

    def start(rules: str) -> Turnout:
        started.append(run.turnout(rules))
        return started[-1]

    yield start
    for proxy in reversed(started):
        end(proxy)
