"""A bank: accounts on three clusters whose sum never changes, and a journal that says which transfers were made."""

from __future__ import annotations

from typing import Any

from tests.servers import Shop
from tests.servers.direct import Direct
from tests.servers.process import wait_until
from tests.servers.shop import DATABASE

CLUSTERS = ("main", "media", "shard0")
TABLES = {"main": "savings", "media": "loans", "shard0": "stocks"}
ACCOUNTS = 5  # per cluster
OPENING = 100
RULES = """\
{servers}transactions: atomic
health: {{every: 200ms, timeout: 2s, connect_timeout: 1s}}
databases:
  shop:
    home: main
    tables:
      loans: {{cluster: media}}
      loans_made: {{cluster: media}}
      stocks: {{cluster: shard0}}
      stocks_made: {{cluster: shard0}}
      rates: {{everywhere: true}}
"""

DECISIONS = "SELECT 1 FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'turnout' AND TABLE_NAME = 'transactions'"


class Bank(Direct):
    """`servers` by cluster. Each has accounts (`savings`, `loans`, `stocks`), a journal (`.._made`, one row per
    transfer and account), and a copy of `rates`."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        super().__init__({name: shop.server(name) for name in CLUSTERS}, DATABASE)
        self.rules = RULES.format(servers=shop.rules(*CLUSTERS))
        for name, server in self.servers.items():
            table = TABLES[name]
            server.execute(
                f"CREATE TABLE {table} (id INT PRIMARY KEY, balance INT NOT NULL)",
                f"CREATE TABLE {table}_made (transfer BIGINT NOT NULL, id INT NOT NULL, amount INT NOT NULL)",
                "CREATE TABLE rates (id INT PRIMARY KEY, rate INT NOT NULL)",
                database=DATABASE,
            )
        self.open()

    def open(self) -> None:
        """Every account as it was in the beginning, and decisions that were taken before older than any to come."""
        for name in CLUSTERS:
            if self.rows(name, DECISIONS):
                self.rows(name, "UPDATE turnout.transactions SET at = at - INTERVAL 1 MINUTE")
            table = TABLES[name]
            rows = ", ".join(f"({number}, {OPENING})" for number in range(ACCOUNTS))
            for sql in (
                f"DELETE FROM {table}",
                f"DELETE FROM {table}_made",
                "DELETE FROM rates",
                f"INSERT INTO {table} VALUES {rows}",
            ):
                self.rows(name, sql)

    def balance(self, cluster: str, number: int) -> int:
        return int(self.rows(cluster, f"SELECT balance FROM {TABLES[cluster]} WHERE id = {number}")[0][0])

    def total(self) -> int:
        return sum(int(self.rows(name, f"SELECT SUM(balance) FROM {TABLES[name]}")[0][0]) for name in CLUSTERS)

    def prepared(self) -> list[tuple[str, tuple[Any, ...]]]:
        """Every branch that is prepared anywhere."""
        return self.prepared_on(*CLUSTERS)

    def prepared_on(self, *clusters: str) -> list[tuple[str, tuple[Any, ...]]]:
        return [(name, row) for name in clusters for row in self.rows(name, "XA RECOVER")]

    def decisions(self, cluster: str) -> list[str]:
        """Outcomes of the transactions that began on a cluster, oldest first."""
        return [str(row[0]) for row in self.rows(cluster, "SELECT outcome FROM turnout.transactions ORDER BY at, id")]

    def settle(self, deadline_s: float = 30.0) -> None:
        """Wait until nothing is prepared or open anywhere. Raises TimeoutError."""
        # InnoDB shows what it showed before to those who look again within 0.1 s.
        wait_until(lambda: not self.prepared() and not self.under_way(), deadline_s, every_s=0.15)

    def under_way(self) -> list[tuple[str, tuple[Any, ...]]]:
        """Every transaction that is open on a server: each holds locks."""
        return [
            (name, row)
            for name in CLUSTERS
            for row in self.rows(name, "SELECT trx_id, trx_state, trx_query FROM information_schema.INNODB_TRX")
        ]
