"""Two shards whose keys a table on home has, behind Turnout."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from tests.front.conftest import end
from tests.front.raw import Answer, Client
from tests.servers import MariaDB, Run, Shop, Turnout
from tests.servers.shop import APP, APP_PASSWORD, DATABASE, OPS, OPS_PASSWORD, SERVICE

RULES = """\
{head}{servers}
shardings:
  by_owner: {{method: directory, table: shop.owners, clusters: [shard0, shard1], weights: {weights}}}
  by_member: {{method: directory, table: shop.membership, clusters: [shard0, shard1]}}
  by_name: {{method: directory, table: shop.names, clusters: [shard0, shard1]}}
databases:
  shop:
    home: main
    tables:
      files: {{sharding: by_owner, key: owner}}
      notes: {{sharding: by_owner, key: owner}}
      users: {{sharding: by_name, key: name}}
      members: {{sharding: by_member, key: id}}
      things: {{sharding: by_owner, key: owner}}
transactions: {transactions}
workbench: {{cluster: main}}
health: {{timeout: 30s, connect_timeout: 30s}}
"""
OWNERS = "CREATE TABLE owners (owner BIGINT NOT NULL PRIMARY KEY, cluster VARCHAR(40) NOT NULL)"
MEMBERSHIP = "CREATE TABLE membership (id BIGINT NOT NULL PRIMARY KEY, cluster VARCHAR(40) NOT NULL)"
NAMES = "CREATE TABLE names (name VARCHAR(20) NOT NULL PRIMARY KEY, cluster VARCHAR(40) NULL)"
SCHEMA = """\
CREATE TABLE files (owner BIGINT NOT NULL, id INT NOT NULL, v INT NOT NULL DEFAULT 0, k VARCHAR(40), \
PRIMARY KEY (owner, id))
CREATE TABLE notes (owner BIGINT NOT NULL, id INT NOT NULL, k VARCHAR(40), PRIMARY KEY (owner, id))
CREATE TABLE users (name VARCHAR(20) NOT NULL PRIMARY KEY, v INT NOT NULL DEFAULT 0)
CREATE TABLE members (id BIGINT AUTO_INCREMENT PRIMARY KEY, k VARCHAR(40))
CREATE TABLE things (owner BIGINT NOT NULL, id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT, k VARCHAR(40), \
PRIMARY KEY (owner, id), KEY (id))
"""


@dataclass
class World:
    """`start(..)` is another Turnout on the same servers."""

    main: MariaDB
    shards: tuple[MariaDB, MariaDB]
    start: Callable[..., Turnout]

    def enter(self, *rows: tuple[object, str], table: str = "owners") -> None:
        """Entries of the directory, straight on home."""
        values = ", ".join(f"({key!r}, '{cluster}')" for key, cluster in rows)
        self.main.execute(f"INSERT INTO {table} VALUES {values}", database=DATABASE)

    def directory(self, table: str = "owners") -> dict[str, str]:
        return {str(key): cluster for key, cluster in self.main.execute(f"SELECT * FROM {table}", database=DATABASE)}

    def rows(self, shard: int, sql: str) -> list[tuple[object, ...]]:
        return list(self.shards[shard].execute(sql, database=DATABASE))


@pytest.fixture
def world(run: Run, shop_servers: Shop) -> Iterator[World]:
    shards = (shop_servers.shard(0), shop_servers.shard(1))
    main = shop_servers.main
    main.execute("DROP DATABASE IF EXISTS turnout")
    shop_servers.recreate()
    main.execute(OWNERS, NAMES, MEMBERSHIP, f"GRANT INSERT ON {DATABASE}.* TO {SERVICE}", database=DATABASE)
    for server in shards:
        server.execute(*SCHEMA.splitlines(), database=DATABASE)
    started: list[Turnout] = []

    def start(
        head: str = "", transactions: str = "best_effort", weights: str = "{shard0: 1, shard1: 1}", limit: int = 100
    ) -> Turnout:
        servers = shop_servers.rules("main", "shard0", "shard1").replace("'}", f"', max_connections: {limit}}}")
        text = RULES.format(head=head, servers=servers, transactions=transactions, weights=weights)
        started.append(run.turnout(text))
        return started[-1]

    yield World(main, shards, start)
    for proxy in reversed(started):
        end(proxy)
    main.execute(f"REVOKE INSERT ON {DATABASE}.* FROM {SERVICE}")


@pytest.fixture
def connect() -> Iterator[Callable[..., Client]]:
    """A factory of clients of Turnout, gone after the test."""
    clients: list[Client] = []

    def connect(server: Turnout, *, admin: bool = False) -> Client:
        account = (OPS, OPS_PASSWORD) if admin else (APP, APP_PASSWORD)
        clients.append(Client(server.port, *account, DATABASE))
        return clients[-1]

    yield connect
    for client in clients:
        client.abort()


def numbers(answer: Answer) -> list[int]:
    """The numbers in the first column."""
    return [int(row[0] or 0) for row in answer.checked().rows]
