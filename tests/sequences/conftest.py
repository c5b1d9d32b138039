"""Two shards and home behind Turnout, and one server that has all the rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from tests.front.conftest import end
from tests.front.raw import Answer, Client
from tests.servers import MariaDB, Run, Shop, Turnout
from tests.servers.shop import APP, APP_PASSWORD, DATABASE, OPS, OPS_PASSWORD

RULES = """\
{head}{servers}
shardings:
  by_customer: {{method: hash, clusters: [shard0, shard1]}}
databases:
  shop:
    home: main
    tables:
      orders: {{sharding: by_customer, key: customer_id}}
      items: {{sharding: by_customer, key: customer_id}}
      members: {{sharding: by_customer, key: id}}
transactions: {transactions}
health: {{timeout: 30s, connect_timeout: 30s}}
"""
# `orders` has the id alone as its key, `items` with the shard key, and of `members` it is the shard key.
# Their ids begin far from each other, so that a number says of which table it is.
SCHEMA = """\
CREATE TABLE orders (id INT AUTO_INCREMENT PRIMARY KEY, customer_id INT NOT NULL, k VARCHAR(40), \
v INT NOT NULL DEFAULT 0)
CREATE TABLE items (customer_id INT NOT NULL, id BIGINT UNSIGNED AUTO_INCREMENT, k VARCHAR(40), \
v INT NOT NULL DEFAULT 0, PRIMARY KEY (customer_id, id), KEY (id), UNIQUE (customer_id, k)) AUTO_INCREMENT=1000001
CREATE TABLE members (id BIGINT AUTO_INCREMENT PRIMARY KEY, k VARCHAR(40), v INT NOT NULL DEFAULT 0) \
AUTO_INCREMENT=2000001
"""
TABLES = ("orders", "items", "members")


@dataclass
class World:
    """`start(head)` is another Turnout on the same servers."""

    main: MariaDB
    shards: tuple[MariaDB, MariaDB]
    one: MariaDB
    start: Callable[..., Turnout]

    def column(self, table: str, column: str = "id") -> list[object]:
        """A column's values on all shards."""
        sql = f"SELECT {column} FROM {table}"
        return [row[0] for shard in self.shards for row in shard.execute(sql, database=DATABASE)]

    def sequence(self, table: str) -> tuple[int, int, int]:
        """(next_id, handed_out, void_below) on home."""
        sql = f"SELECT next_id, handed_out, void_below FROM turnout.sequences WHERE name = 'shop.{table}'"
        ((next_id, handed_out, void_below),) = self.main.execute(sql)
        return int(next_id), int(handed_out), int(void_below)


@pytest.fixture(scope="session")
def one(run: Run) -> MariaDB:
    server = run.mariadb("one-server")
    server.create_account(APP, APP_PASSWORD)
    return server


@pytest.fixture
def world(run: Run, shop_servers: Shop, one: MariaDB) -> Iterator[World]:
    shards = (shop_servers.shard(0), shop_servers.shard(1))
    main = shop_servers.main
    main.execute("DROP DATABASE IF EXISTS turnout")
    shop_servers.recreate()
    one.execute(f"DROP DATABASE IF EXISTS {DATABASE}", f"CREATE DATABASE {DATABASE}")
    for server in (*shards, one):
        server.execute(*SCHEMA.splitlines(), database=DATABASE)
    started: list[Turnout] = []

    def start(head: str = "", transactions: str = "best_effort") -> Turnout:
        servers = shop_servers.rules("main", "shard0", "shard1")
        started.append(run.turnout(RULES.format(head=head, servers=servers, transactions=transactions)))
        return started[-1]

    yield World(main, shards, one, start)
    for proxy in reversed(started):
        end(proxy)


@pytest.fixture
def connect() -> Iterator[Callable[..., Client]]:
    """A factory of clients of Turnout or of a server, gone after the test."""
    clients: list[Client] = []

    def connect(server: Turnout | MariaDB, *, admin: bool = False) -> Client:
        account = (OPS, OPS_PASSWORD) if admin else (APP, APP_PASSWORD)
        clients.append(Client(server.port, *account, DATABASE))
        return clients[-1]

    yield connect
    for client in clients:
        client.abort()


def ids(answer: Answer) -> list[int]:
    """The numbers in the first column."""
    return [int(row[0] or 0) for row in answer.checked().rows]
