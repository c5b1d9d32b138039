"""The clusters of the tests of DDL, asked one by one."""

from __future__ import annotations

import re

from tests.servers import Shop
from tests.servers.direct import Direct
from tests.servers.shop import APP, DATABASE

CLUSTERS = ("main", "shard0", "shard1")
SHARDS = ("shard0", "shard1")
RULES = """\
workers: 2
{servers}
shardings:
  by_k: {{method: hash, clusters: [shard0, shard1]}}
  other: {{method: hash, clusters: [shard1, shard0]}}
databases:
  shop:
    home: main
    tables:
      scratch: {{sharding: by_k, key: k}}
      parents: {{sharding: by_k, key: k}}
      things: {{sharding: by_k, key: k}}
      things_new: {{sharding: by_k, key: k}}
      things_old: {{sharding: by_k, key: k}}
      strays: {{sharding: other, key: k}}
      moved: {{cluster: shard1}}
      kinds: {{everywhere: true}}
  second:
    home: main
    tables:
      parts: {{sharding: by_k, key: k}}
transactions: atomic
health: {{every: 200ms, timeout: 5s, connect_timeout: 2s}}
"""


class House(Direct):
    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        super().__init__({name: shop.server(name) for name in CLUSTERS}, DATABASE)
        self.rules = RULES.format(servers=shop.rules(*CLUSTERS))
        self.on(CLUSTERS, f"GRANT GRANT OPTION ON *.* TO '{APP}'@'%'")

    def empty(self) -> None:
        for name in CLUSTERS:
            tables = [str(row[0]) for row in self.rows(name, "SHOW TABLES") if row]
            dropped = [f"DROP TABLE {', '.join(tables)}"] if tables else []
            self.on((name,), "SET foreign_key_checks = 0", *dropped, "SET foreign_key_checks = 1")

    def on(self, clusters: tuple[str, ...], *statements: str) -> None:
        for name in clusters:
            for sql in statements:
                self.rows(name, sql)

    def definition(self, cluster: str, table: str) -> str | None:
        """SHOW CREATE TABLE without its counter; None where there is no such table."""
        names = self.rows(cluster, f"SHOW TABLES LIKE '{table}'")
        if not names:
            return None
        return re.sub(r" AUTO_INCREMENT=\d+", "", str(self.rows(cluster, f"SHOW CREATE TABLE {table}")[0][1]))

    def same(self, table: str, clusters: tuple[str, ...] = SHARDS) -> str | None:
        """What a table is defined as, on all of the clusters."""
        found = {self.definition(cluster, table) for cluster in clusters}
        assert len(found) == 1, found
        return found.pop()
